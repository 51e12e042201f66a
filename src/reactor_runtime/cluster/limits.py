"""The bounds of a cluster, each with what happens beyond it; those of a single server are in `limits.py` above.

Values only.
"""

from __future__ import annotations

from typing import Final

#: Workers of one cluster: each is a seat of its one line. More: turned away, and told so in the log.
WORKERS: Final = 256
#: How often a worker tells Placement how it is; not heard of for that long, it is taken for lost with its session.
BEAT_S: Final = 0.5
LOST_S: Final = 2.5
#: A worker's place is kept for that long after it was lost. Longer: its place is free for another.
FORGET_S: Final = 60.0
#: How long a start at a worker may take. Longer: the worker is free again, and whoever waited is told to try again.
START_S: Final = 10.0
#: A worker at which a start failed is given nothing for that long.
SHUNNED_S: Final = 3.0
#: How long a worker's word that it is idle is taken for older than the session that was just begun there.
SEEN_S: Final = 5.0
#: After it began, Placement hears for so long who is there before it gives anything out.
GATHER_S: Final = 1.5
#: A fresh worker proves itself with a first frame within this time. Longer: it is made anew.
WARM_S: Final = 60.0
#: What a door knows of a session's worker is asked again after this time, and at once when that does not answer.
WHERE_S: Final = 2.0
#: Sessions whose workers a door knows. More: oldest forgotten.
WHERE_MAX: Final = 1000
#: A connection of a door to a worker. Longer: 503.
CONNECT_S: Final = 2.0
#: How long a token of the door counts at a worker, where whoever asked showed none that ends.
TOKEN_S: Final = 86_400.0
