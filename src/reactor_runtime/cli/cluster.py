"""`reactor cluster`: the same server on each GPU of many machines, on Ray."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..importing import importing
from .run import parse_args, require_token
from .setting_flags import WithSettings

if TYPE_CHECKING:
    from ..config import Settings
    from ..types import JsonObject

app = typer.Typer(help="Serve a model on the GPUs of many machines, on Ray.", no_args_is_help=True)

Address = Annotated[
    str, typer.Option(help="Of a Ray that runs: auto, or HOST:6379. Without it one is begun on this machine.")
]
Least = Annotated[int | None, typer.Option("--min", min=0, help="Workers there are at least. Default: one.")]
Most = Annotated[
    int | None, typer.Option("--max", min=0, help="Workers there are at most. Default: as --min.")
]
Spare = Annotated[
    int | None, typer.Option("--idle", min=0, help="Workers that are kept free beyond those that are used.")
]


@app.command(cls=WithSettings)
def up(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="Folder with a manifest.json, the same on each node.")] = Path(
        "."
    ),
    *,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg", "-a", metavar="KEY=VALUE", help="Constructor argument; JSON, else text. Repeat."
        ),
    ] = None,
    address: Address = "",
    least: Least = None,
    most: Most = None,
    idle: Spare = None,
    idle_s: Annotated[float, typer.Option(min=0, help="How long a worker is idle before it may go.")] = 300.0,
    doors: Annotated[int, typer.Option(min=1, max=16, help="Front doors, the first on this machine.")] = 1,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="Default: one where there are any, else none.")
    ] = None,
) -> None:
    """Begin Placement, workers and front doors; run until Ctrl-C, then drain.

    Takes the settings of `reactor run`; a token is needed for others to come in, and each worker has one of its own.
    """
    with importing():
        from ..cluster import launch
        from ..cluster.keeper import Spec
        from ..cluster.scaling import Bounds
        from ..config import Settings
        from .screen import Screen, mistakes

    with mistakes(verbose=bool(ctx.obj["verbose"])):
        settings = Settings.load(ctx.obj)
        require_token(settings)
        refuse_what_is_of_one_server(settings)
        launch.require_ray()
        args = parse_args(arg or ())
        fewest = 1 if least is None else least
        bounds = Bounds(fewest, max(fewest, fewest if most is None else most), idle or 0)
        known = settings.model_dump(mode="json")
        spec = Spec(str(path.resolve()), args, _of_worker(known))
    stop = threading.Event()
    with (
        mistakes(verbose=settings.verbose),
        Screen(verbose=settings.verbose, log_format=settings.log_format) as screen,
    ):
        launch.attach(address)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        try:
            urls = launch.begin(
                spec,
                known,
                cap=settings.line,
                bounds=bounds,
                idle_s=idle_s,
                doors=doors,
                gpus_per_worker=gpus_per_worker,
            )
            for url in urls:
                screen.say(f"A door is open at {url}")
            screen.say("`reactor cluster status --address auto` shows workers and the line. Ctrl-C drains.")
            stop.wait()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            screen.say(f"Draining: no new sessions; running ones have {settings.drain_s:g} s.")
        finally:
            launch.end(drain_s=settings.drain_s if stop.is_set() else 0, say=screen.say)
        screen.say("Stopped.")


def refuse_what_is_of_one_server(settings: Settings) -> None:
    """Raise SettingError for a setting that would be silently another thing here."""
    from ..errors import SettingError

    for flag, given, fix in (
        ("--turn-s", settings.turn_s, "leave it out: who drives in a cluster drives until he goes"),
        ("--slots", (settings.slots or 1) > 1, "use --min: each worker has one session"),
        ("--gpus", settings.gpus, "use --gpus-per-worker: Ray gives each worker its GPU"),
        ("--audit-log", settings.audit_log, "leave it out: a cluster writes none"),
        (
            "--record-dir",
            settings.record_dir,
            "leave it out: each worker has a folder of its own while it lives",
        ),
        ("--inline", settings.inline, "leave it out: a worker has its model in a process of its own"),
    ):
        if given:
            raise SettingError(f"{flag} is not for a cluster.\n  Fix: {fix}.")


def _of_worker(known: JsonObject) -> JsonObject:
    """Return the settings that a worker has of those: not who may come in, which is the door's affair."""
    doors = {
        "token",
        "token_keys",
        "token_key_file",
        "visitor_role",
        "audit_log",
        "allow_origins",
        "frame_ancestors",
    }
    return {name: value for name, value in known.items() if name not in doors}


@app.command()
def status(
    address: Address = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show nodes, doors, workers, sessions and the line."""
    from ..cluster import launch
    from .screen import mistakes

    with mistakes(verbose=False):
        launch.require_ray()
        launch.attach(address)
        known = launch.state()
    if as_json:
        typer.echo(json.dumps(known, indent=1))
        return
    from rich.console import Console

    Console().print(*tables(known), sep="\n")


def tables(known: JsonObject) -> list[object]:
    """Return what `status` prints of what `launch.state` knows."""
    from rich.table import Table

    nodes = Table("node", "address", "GPUs", "workers", title="Nodes", title_justify="left")
    for node in known["nodes"]:
        here = [worker for worker in known["workers"] if worker["node"] == node["node"]]
        state = "" if node["alive"] else " [red]gone[/red]"
        nodes.add_row(node["node"], node["address"] + state, f"{node['gpus']:g}", str(len(here)))
    workers = Table(
        "worker", "node", "state", "for", "session", "viewers", title="Workers", title_justify="left"
    )
    for worker in known["workers"]:
        state = worker["state"] + (" · draining" if worker["draining"] else "")
        lasted = f"{worker['for_s']:.0f} s"
        workers.add_row(
            worker["worker"], worker["node"], state, lasted, worker["session_id"], str(worker["viewers"])
        )
    scale = known["scale"]
    words = [f"Doors   {', '.join(known['doors']) or 'none answers'}", f"Line    {known['waiting']} wait"]
    count = f"{scale['min']} to {scale['max']} workers, {scale['idle']} kept free"
    words.append(f"Scale   {count}, idle ones go after {scale['idle_s']:g} s")
    return [nodes, workers, *words]


@app.command()
def drain(
    node: Annotated[str, typer.Argument(help="As `status` calls it; a beginning will do.")],
    address: Address = "auto",
) -> None:
    """Begin nothing more on a node: who plays there plays on. When nobody does any more it may be turned off."""
    from ..cluster import launch
    from .screen import mistakes

    with mistakes(verbose=False):
        launch.require_ray()
        launch.attach(address)
        count = launch.drain(node)
    typer.echo(f"{count} workers are given nothing more.")


@app.command()
def scale(
    address: Address = "auto",
    least: Least = None,
    most: Most = None,
    idle: Spare = None,
    idle_s: Annotated[
        float | None, typer.Option(min=0, help="How long a worker is idle before it may go.")
    ] = None,
) -> None:
    """Change how many workers there are: as many as are used and waited for, and --idle more, within bounds."""
    from ..cluster import launch
    from ..cluster.scaling import Bounds
    from .screen import mistakes

    with mistakes(verbose=False):
        launch.require_ray()
        launch.attach(address)
        now, now_s = launch.bounds_now()
        fewest = now.least if least is None else least
        bounds = Bounds(
            fewest, max(fewest, now.most if most is None else most), now.idle if idle is None else idle
        )
        launch.scale(bounds, now_s if idle_s is None else idle_s)
    typer.echo(f"{bounds.least} to {bounds.most} workers, {bounds.idle} kept free.")
