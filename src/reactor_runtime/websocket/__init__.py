"""The WebSocket rung: pictures and messages of one viewer over one TCP connection, where no WebRTC gets through.

Imports `encode`; is imported by `cluster`, `server` and `session`.

- header.py: what stands before each picture, and how a receiver says that it has decoded one (pure)
- relay.py: which pictures a viewer is sent, and how many bits a second it takes (pure)
- socket_link.py: the link: pictures and messages out, acks and messages in
- inputs.py: pictures that a viewer sends, decoded on a thread

The HTTP server owns the socket; what is here takes and gives messages, text and binary.
"""
