"""Where the model process begins: `python -m reactor_runtime.worker`, with `child`'s arguments."""

from __future__ import annotations

import sys

from ..importing import importing

if __name__ == "__main__":
    with importing():
        from .child import main
    main(sys.argv[1:])
