"""What the server knows of users: the slot, sessions, their viewers, streams, uploads and numbers.

Imports `author` (never an author's code), `encode`, `recording`, `session_log`, `webrtc`, `websocket` and `wire`; is
imported by `cluster` and `server`.
"""
