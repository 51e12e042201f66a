"""The WebRTC seam: everything that knows a media engine by name is in this package.

Imports no other folder; is imported by `cli`, `cluster`, `server` and `session`.

- signalling.py: one connection's offer, answer and candidates, and the link that comes of them
- peer.py: what signalling needs of an engine: peers, which are links with an offer and an answer
- engines.py: opens an engine by its name in the settings
- offer.py: an offer to a plan for an engine, or a reason to refuse (pure)
- sdp.py: SDP as text in sections (pure)
- candidate.py: which remote addresses may be dialled (pure)
- trailer.py: the per-frame trailer that some clients negotiate (pure)
- handshake.py: the engine's part of an answer, which runs to its end
- reactor.py and reactor_*.py: libwebrtc through `reactor-webrtc` (primary)
- lost_packets.py: what a long line that loses packets is sent at most (pure)
- aio.py, aio_track.py, aio_private.py, reported_rate.py: aiortc (fallback, pure Python transport)
- reach.py, ice_tcp.py: ways in that an engine does not know of: a public address, TCP on the HTTP port
- ice.py: the operator's STUN and TURN servers
- selfcheck.py: a connection of this machine with itself, for `reactor doctor`
"""
