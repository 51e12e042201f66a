"""What to type at home when the server runs at the other end of an SSH session. Pure.

One forwarded port is enough: it carries the page, and the video as ICE over TCP (`webrtc/ice_tcp.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


def recipe(environ: Mapping[str, str], url: str, user: str) -> str:
    """Return the command line for the user's own machine; "" outside of an SSH session."""
    # sshd(8): the client's address and port, then this machine's.
    words = environ.get("SSH_CONNECTION", "").split()
    where = urlsplit(url)
    if len(words) != 4 or not where.port:
        return ""
    here, ssh_port = words[2:]
    options = "" if ssh_port == "22" else f"-p {ssh_port} "
    host = f"[{where.hostname}]" if ":" in (where.hostname or "") else where.hostname
    return (
        "Over SSH: on your own machine run\n"
        f"  ssh -N -L {where.port}:{host}:{where.port} {options}{user}@{here}\n"
        f"and open http://localhost:{where.port}; the video comes through the same port. "
        "Write the name that you use for this machine, if it is another."
    )
