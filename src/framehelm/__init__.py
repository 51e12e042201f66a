"""The commands `framehelm` and `reactor` begin here, outside the package that another distribution may overwrite.

The distribution `reactor-runtime` owns the import package `reactor_runtime` as well. pip installs the two over one
another without a word, and what is left is a mixture. Only a module of our own can still say so: it imports nothing
of `reactor_runtime` before it has looked.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, PackageNotFoundError

#: The distribution that installs files into the same package.
RIVAL = "reactor-runtime"


def clash() -> str | None:
    """Return what to tell if the other distribution is installed too, or None."""
    try:
        rival = Distribution.from_name(RIVAL)
    except PackageNotFoundError:
        return None
    if _is_editable(rival):
        # It points to a checkout and put no files into the package.
        return None
    return (
        f"framehelm and {RIVAL} {rival.version} are both installed. Both bring the Python package reactor_runtime, "
        "and the files of one have overwritten those of the other.\n"
        f"  Fix: pip uninstall -y {RIVAL} framehelm, then install framehelm again; "
        f"or give {RIVAL} a virtual environment of its own."
    )


def main() -> None:
    """Run the command line, unless what is installed is a mixture. Exits with 2 then."""
    if (said := clash()) is not None:
        print(f"framehelm: {said}", file=sys.stderr)
        sys.exit(2)
    from reactor_runtime.cli import main as run

    run()


def _is_editable(installed: Distribution) -> bool:
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))
