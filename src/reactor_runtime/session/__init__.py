"""What the server knows of users: the slot, sessions, their viewers, streams, uploads and numbers.

Imports `encode`, `recording`, `webrtc` and `wire`, never author code; is imported by `server`.
"""
