"""The `reactor` command.

Imports `author`, `cluster`, `headless`, `server`, `session_log`, `webrtc`, `weights` and `worker`; is imported by no
other.
Both commands begin in the package `framehelm`, beside this one.

One module per command. A module imports what its command works with inside the command's function, so
that `reactor --help` answers at once: pydantic, numpy and the server take half a second together.
What every command writes for people goes to stderr (`screen`); stdout carries results only, so that it
can be piped. Exit status: 0 done, 1 something broke here, 2 a mistake that the caller can fix.
"""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from .capabilities import capabilities
from .check import check
from .cluster import app as cluster
from .doctor import doctor
from .init import init
from .render import render
from .replay import replay
from .run import run
from .setting_flags import WithSettings
from .token import app as token
from .weights import app as weights

app = typer.Typer(
    name="reactor",
    help="Serve a real-time interactive video model: write one class, run it, open the address.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks are for --verbose; `screen.mistakes` prints the rest.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=WithSettings)(run)
app.command()(render)
app.command()(replay)
app.command()(check)
app.command()(init)
app.command()(capabilities)
app.command()(doctor)
app.add_typer(weights, name="weights")
app.add_typer(token, name="token")
app.add_typer(cluster, name="cluster")


def show_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"framehelm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True),
    ] = False,
) -> None:
    """Serve a real-time interactive video model: write one class, run it, open the address."""


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        app()
    finally:
        # An interpreter that ends looks for garbage once more, among all that goes with the process anyway.
        gc.freeze()
