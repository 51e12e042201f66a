"""A bad network as a test bed: what a line does is in `line.py`, two namespaces with it between them in `relay.py`."""
