"""A model project of its own, so that the runtime can run it; benchmarks/causal_wan.py measures it."""
