"""Data channel wire formats, without any input or output: bytes in, messages out, and back.

Imports no other folder; is imported by `cluster` and `session`.

messages.py  what can be said, independent of format
v0.py        JSON text (JavaScript clients)
v1.py        protobuf binary (the Python client)
sniff.py     which of the two a connection speaks, latched on its first frame
"""
