"""Many machines: the same server on each GPU, one line before them, and doors that lead to them. On Ray.

    browser ─▶ front_door.py ─▶ placement.py     who gets what: one for the cluster
                  │                  ▲
                  │                  └── beats, twice a second
                  └─ forward.py ─▶ served.py     the server of `reactor run`, one for each GPU

Imports `recording`, `server`, `session`, `webrtc`, `websocket` and `wire`; is imported by `cli`.
Nothing of a single server knows of it. Only `actors.py` and `launch.py` import Ray, which the extra `cluster` brings.
"""
