"""`reactor check`: run the contract on a model before it meets users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..headless.check import Evidence, Finding, Measurements

_STYLES = {"passed": "green", "failed": "bold red", "doubtful": "yellow", "not measured": "dim"}


def check(
    path: Annotated[Path, typer.Argument(help="Folder with a manifest.json, or the manifest.")] = Path("."),
    *,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", "-a", metavar="KEY=VALUE", help="Constructor argument; JSON, else text."),
    ] = None,
    input_: Annotated[
        Path | None,
        typer.Option("--input", help="A film in place of the synthetic camera.", metavar="CLIP"),
    ] = None,
    sessions: Annotated[
        int, typer.Option(min=6, max=1000, help="Sessions over which memory has to be flat.")
    ] = 10,
    stop_s: Annotated[float, typer.Option(min=0.1, help="How long a session may take to stop.")] = 5.0,
    stall_s: Annotated[float, typer.Option(min=1, help="How long one frame may take.")] = 60.0,
    fix_hints: Annotated[bool, typer.Option("--fix-hints", help="Say what to change.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON on stdout.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the model prints.")] = False,
) -> None:
    """Check a model: users kept apart, memory flat, stops, commands, rate. Loads it three times; status 1 if unfit."""
    from rich.console import Console

    from .run import parse_args
    from .screen import FAILURE, mistakes

    console = Console(stderr=True)
    with mistakes(verbose=verbose):
        from ..author.manifest import Manifest
        from ..headless.check import as_document, judge, passed
        from ..headless.film import ClipFeed

        args = parse_args(arg or ())
        manifest = Manifest.read(path)
        manifest.info(manifest.load_class(), args)
        options = {"args": args, "sessions": sessions, "stop_s": stop_s, "stall_s": stall_s}
        if input_ is not None:
            ClipFeed(input_.absolute(), fps=30.0).close()
            options["input"] = str(input_.absolute())
        with console.status("Checking") as status:
            evidence = measure(manifest.file, options, verbose=verbose, tell=status.update)
        findings = judge(evidence)
    if as_json:
        typer.echo(json.dumps(as_document(findings)))
    else:
        show(findings, fix_hints=fix_hints)
    if not passed(findings):
        raise typer.Exit(FAILURE)


def measure(
    manifest: Path, options: dict[str, Any], *, verbose: bool, tell: Callable[[str], None]
) -> Evidence:
    """Run the three probes, each in a fresh process. A model that waits for a command is told something first."""
    from ..headless.check import Evidence

    def run(part: Literal["alone", "shared"], speak_first: bool) -> Measurements:
        return probe(
            {"manifest": str(manifest), "part": part, "speak_first": speak_first, **options}, verbose
        )

    tell("One user alone")
    alone = run("alone", False)
    waits = alone.waits_for_command
    if waits:
        alone = run("alone", True)
        alone.waits_for_command = True
    tell("The same again")
    again = run("alone", waits)
    tell("Users after another, memory, stops, rate")
    shared = run("shared", waits)
    return Evidence(alone, again, shared, options["stop_s"])


def probe(plan: dict[str, Any], verbose: bool) -> Measurements:
    """Measure in a fresh process. A process that dies, or does not come back, is an error that was measured."""
    from .. import codes
    from ..config import Settings
    from ..headless.check import Measurements
    from ..worker.threads import environment, usable_cores

    # As in service: with its threads; and what depends on the order of a set differs between two processes.
    threads = Settings.load({}).model_threads
    served = {**environment(os.environ, threads, usable_cores()), "PYTHONHASHSEED": "random"}
    done = subprocess.run(  # noqa: S603  # our own interpreter and module
        [sys.executable, "-P", "-m", "reactor_runtime.headless.probe", json.dumps(plan)],
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=False,
        env=served,
    )
    if done.returncode == 0 and done.stdout:
        found = Measurements.model_validate_json(done.stdout)
    else:
        found = Measurements(error=f"the model's process ended with status {done.returncode}")
    failed = found.error or any(each.code == codes.INTERNAL_ERROR for each in found.answers)
    if failed and not verbose and done.stderr:
        sys.stderr.buffer.write(done.stderr[-8000:])
        sys.stderr.flush()
    return found


def show(findings: list[Finding], *, fix_hints: bool) -> None:
    """Print the table on a terminal, and whole lines elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    hints = [each for each in findings if fix_hints and each.hint]
    if not console.is_terminal:
        for each in findings:
            typer.echo(f"{each.name}: {each.verdict}: {each.words}")
            if each in hints:
                typer.echo(f"  Fix: {each.hint}")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("", "verdict", "what was found"):
        table.add_column(heading)
    for each in findings:
        words = Text(each.words)
        if each in hints:
            words.append(f"\nFix: {each.hint}", style="cyan")
        table.add_row(each.name, Text(each.verdict, style=_STYLES[each.verdict]), words)
    console.print(table)
