"""`reactor replay`: run a logged session again, and say whether its frames are what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from ..headless.replay import Replayed
    from ..session_log.lines import SessionLog
    from ..types import EmittedFrame


def replay(
    log: Annotated[Path, typer.Argument(help="A log that reactor run --log-session wrote.")],
    path: Annotated[Path, typer.Argument(help="Folder with a manifest.json, or the manifest.")] = Path("."),
    *,
    out: Annotated[
        str, typer.Option("--out", "-o", help="Keep the frames: film.mp4, a folder for PNGs, or -.")
    ] = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Fail, with status 1, when a frame differs.")
    ] = False,
    difference: Annotated[
        Path | None,
        typer.Option(
            help="Where the picture of the first difference goes. [default: LOG.difference.png]",
            metavar="PNG",
        ),
    ] = None,
    stall_s: Annotated[float, typer.Option(min=0.1, help="How long one frame may take.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON on stdout.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks for mistakes.")] = False,
) -> None:
    """Run a logged session again: its arguments, its seed, each command before the frame it ran before."""
    import asyncio

    from rich.console import Console

    from ..headless.stdout import claim_stdout
    from .render import compute_as_live, in_project, progress, tell
    from .screen import FAILURE, mistakes

    results = claim_stdout()
    console = Console(stderr=True)
    with mistakes(verbose=verbose):
        compute_as_live()
        from ..author.manifest import Manifest
        from ..errors import SettingError
        from ..headless.film import open_sink, write_png
        from ..headless.replay import open_log
        from ..headless.replay import replay as run

        if out == "-" and as_json:
            raise SettingError("--json and --out - both want stdout.\n  Fix: give one of them.")
        found = open_log(log)
        manifest = Manifest.read(path)
        exact = is_generator(manifest)
        picture = (difference or log.with_suffix(".difference.png")).absolute()
        target = out if out in ("", "-") else str(Path(out).absolute())
        sink = open_sink(target, fps=found.began.fps or 30.0, stdout=results.buffer) if out else None
        in_project(manifest)
        for lack in found.inexact():
            tell(console, f"note: the log lacks {lack}; frames may differ")
        try:
            with progress(console, "Replaying", found.last_frame) as advance:

                def show(frame: EmittedFrame) -> None:
                    if sink is not None:
                        sink.write(frame.pixels)
                    advance()

                replayed = asyncio.run(
                    run(found, manifest.file, show, stall_s=stall_s, tell=lambda line: tell(console, line))
                )
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        finally:
            if sink is not None:
                sink.close()
        if replayed.comparison.side_by_side is not None:
            write_png(picture, replayed.comparison.side_by_side)
        _report(console, found, replayed, exact=exact, picture=picture)
        if as_json:
            results.write(json.dumps(as_document(replayed, exact=exact, picture=picture)) + "\n")
            results.close()
        if verify and not replayed.equal:
            raise typer.Exit(FAILURE)


def is_generator(manifest: Any) -> bool:
    """Whether commands run between two frames of this model, and not beside it."""
    import inspect

    return inspect.isgeneratorfunction(manifest.load_class().start_session)


def as_document(replayed: Replayed, *, exact: bool, picture: Path) -> dict[str, Any]:
    found = replayed.comparison
    return {
        "equal": replayed.equal,
        "frames": replayed.rendered.frames,
        "digests": len(found.expected),
        "compared": found.compared,
        "first_difference": found.first_difference,
        "last_equal": found.after,
        "picture": None if found.side_by_side is None else str(picture),
        "answers": replayed.answers,
        "warnings": replayed.warnings,
        "frame_exact": exact,
    }


def _report(console: Console, log: SessionLog, replayed: Replayed, *, exact: bool, picture: Path) -> None:
    from .render import tell

    found = replayed.comparison
    for warning in replayed.warnings:
        if not warning.startswith("the log lacks "):  # told before it ran
            tell(console, f"note: {warning}")
    if log.ended is None:
        tell(console, "note: the log has no end (the server was killed); it is replayed as far as it goes")
    tell(console, f"{replayed.rendered.frames} frames, {len(log.commands)} commands, seed {log.began.seed}")
    for answer in replayed.answers:
        tell(console, f"answered differently: {answer}")
    if found.first_difference is not None:
        tell(console, f"frame {found.first_difference} differs (frame {found.after} was equal): {picture}")
        if not exact:
            tell(
                console,
                "start_session() is a blocking loop: its commands ran beside it, and a replay can only run them "
                "between two frames.",
            )
    elif replayed.missing:
        tell(console, f"the replay ended before {replayed.missing} of the log's digests")
    elif replayed.equal:
        tell(console, f"equal: all {found.compared} digests")
