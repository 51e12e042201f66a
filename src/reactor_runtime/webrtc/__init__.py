"""The WebRTC seam: everything that knows a media engine by name is in this package.

peer.py      what the session needs of a peer: the protocol, its events, its capabilities
offer.py     pure checks and edits of SDP text: sizes, candidates, track mapping
reactor.py   libwebrtc through `reactor-webrtc` (primary)
aio.py       aiortc (fallback, pure Python transport)
"""
