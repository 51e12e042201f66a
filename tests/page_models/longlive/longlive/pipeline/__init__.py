"""The pipeline's parts: inference.py steers, networks.py holds the weights."""
