"""The model in a process of its own: see `parent` (the server's side) and `child` (its main)."""
