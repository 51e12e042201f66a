"""An open runtime for real-time interactive video models."""
