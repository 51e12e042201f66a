"""`reactor render`: one session of a model into a file, without a browser."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import limits

if TYPE_CHECKING:
    from rich.console import Console

    from ..headless.render import Rendered
    from ..types import Cue, EmittedFrame, ModelInfo

#: The rate of the file when neither the model nor the caller names one.
_FPS = 30.0


def render(
    path: Annotated[Path, typer.Argument(help="Folder with a manifest.json, or the manifest.")] = Path("."),
    *,
    out: Annotated[str, typer.Option("--out", "-o", help="film.mp4, a folder for PNGs, or - for raw RGB.")],
    seconds: Annotated[float | None, typer.Option(min=0.001, help="Length of the film. [default: 5]")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Length of the film, in frames.")] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=240, help="Rate of the film. [default: the model's, else 30]")
    ] = None,
    script: Annotated[Path | None, typer.Option(help="Commands at frames or times: commands.jsonl.")] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", help="A film in place of the camera.", metavar="CLIP")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=limits.SEED_MAX, help="Makes random numbers repeatable.")
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="At the pace of a live session, not as fast as it goes.")
    ] = False,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", "-a", metavar="KEY=VALUE", help="Constructor argument; JSON, else text."),
    ] = None,
    stall_s: Annotated[float, typer.Option(min=0.1, help="How long one frame may take.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON on stdout.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks for mistakes.")] = False,
) -> None:
    """Render one session to a file: the same class, no browser, no waiting, repeatable with --seed."""
    import asyncio

    from rich.console import Console

    from ..headless.stdout import claim_stdout
    from .run import parse_args
    from .screen import mistakes

    results = claim_stdout()
    console = Console(stderr=True)
    with mistakes(verbose=verbose):
        compute_as_live()
        from ..author.manifest import Manifest
        from ..errors import SettingError
        from ..headless.film import ClipFeed, open_sink
        from ..headless.render import Take
        from ..headless.render import render as run
        from ..session_log.script import unreached

        if seconds is not None and frames is not None:
            raise SettingError("--seconds and --frames are both given.\n  Fix: give one of them.")
        if out == "-" and as_json:
            raise SettingError("--json and --out - both want stdout.\n  Fix: give one of them.")
        args = parse_args(arg or ())
        manifest = Manifest.read(path)
        info = manifest.info(manifest.load_class(), args)
        rate = fps or info.fps or _FPS
        count = frames or max(1, round((5.0 if seconds is None else seconds) * rate))
        cues = read_cues(script, rate)
        clip = Path() if input_ is None else input_.absolute()
        feed = None if input_ is None else ClipFeed(clip, fps=rate)
        target = out if out == "-" else str(Path(out).absolute())
        sink = open_sink(target, fps=rate, stdout=results.buffer)
        in_project(manifest)
        take = Take(manifest.file, args, count, seed, cues, feed, realtime, fps or info.fps, stall_s)

        def loaded(model: ModelInfo) -> Take | None:
            """Begin anew with the rate that the constructor has set, as a live session does."""
            nonlocal info, rate, cues, feed, sink, take
            info = model
            if fps is not None or model.fps in (None, rate):
                return None
            rate = model.fps or rate
            cues = read_cues(script, rate)
            if feed is not None and input_ is not None:
                feed.close()
                feed = ClipFeed(clip, fps=rate)
            sink = open_sink(target, fps=rate, stdout=results.buffer)
            count = frames or max(1, round((5.0 if seconds is None else seconds) * rate))
            take = dataclasses.replace(take, frames=count, cues=cues, feed=feed, fps=rate)
            return take

        try:
            with progress(console, "Rendering", count) as advance:

                def show(frame: EmittedFrame) -> None:
                    sink.write(frame.pixels)
                    advance()

                rendered = asyncio.run(run(take, show, loaded=loaded, log=lambda line: tell(console, line)))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        finally:
            sink.close()
            if feed is not None:
                feed.close()
        _report(console, rendered, take.cues, unreached(cues, frames=rendered.frames), out)
        if as_json:
            results.write(json.dumps(as_document(rendered, info, fps=rate)) + "\n")
            results.close()


def read_cues(script: Path | None, fps: float) -> list[Cue]:
    from ..errors import ScriptRejected
    from ..session_log.script import read_script

    if script is None:
        return []
    try:
        return read_script(script.read_text("utf-8-sig").splitlines(), fps=fps, file=str(script))
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptRejected(f"--script {script}: {error}.\n  Fix: name a file of JSON lines.") from None


def compute_as_live() -> None:
    """Give the model's libraries the threads that they have under `reactor run`. Before any of them is imported."""
    from ..config import Settings
    from ..worker.threads import settle

    settle(Settings.load({}).model_threads)


def in_project(manifest: Any) -> None:
    """See the paths that authors write ("./weights/model.pt") from their project, as a served model does."""
    os.chdir(manifest.folder)


def tell(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def progress(console: Console, what: str, total: int | None) -> Iterator[Any]:
    """Show a bar with the rate on a terminal, and nothing elsewhere; yield what counts one frame."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def as_document(rendered: Rendered, info: ModelInfo, *, fps: float) -> dict[str, Any]:
    height, width = rendered.size
    return {
        "model": info.name,
        "version": info.version,
        "frames": rendered.frames,
        "fps": fps,
        "width": width,
        "height": height,
        "first_frame_s": round(rendered.first_frame_s, 4),
        "seconds": round(rendered.seconds, 4),
        "digest": rendered.digest,
        "ended_by_model": rendered.ended,
        "commands": len(rendered.outcomes),
        "refused": [
            {"command": each.command_id, "frame": each.frame_id, "code": each.code, "message": each.message}
            for each in rendered.refused
        ],
    }


def _report(console: Console, rendered: Rendered, cues: Any, late: list[Cue], out: str) -> None:
    height, width = rendered.size
    rate = rendered.frames / rendered.seconds if rendered.seconds else 0.0
    tell(
        console,
        f"{rendered.frames} frames of {width}x{height} in {rendered.seconds:.2f} s ({rate:.1f} frames/s): {out}",
    )
    names = {cue.call.command_id: cue.call.name for cue in cues}
    for each in rendered.refused:
        name = names.get(each.command_id, "?")
        tell(
            console,
            f"refused before frame {each.frame_id}: {name}: {each.raised or each.message} ({each.code})",
        )
    for cue in late:
        tell(console, f"not reached: {cue.call.name} before frame {cue.frame_id}")
    if rendered.ended:
        tell(console, "the model ended the session by itself")
    tell(console, f"digest of the frames: {rendered.digest}")
