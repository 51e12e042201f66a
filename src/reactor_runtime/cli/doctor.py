"""`reactor doctor`: is this machine fit to run a model, and if not, what is to be done.

Each check is a function without arguments that returns a `Finding`. A check never raises and never takes
longer than a few seconds.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from .. import __version__

_LOOPBACK_S = 5.0
_COMMAND_S = 30.0
#: What a 720p stream's frame ring takes, with room. Containers often get 64 MB.
_SHARED_MEMORY_MIN_BYTES = 128 * 1024 * 1024
_ENCODERS = {
    "libx264": "H.264 on the CPU",
    "libvpx": "VP8 on the CPU",
    "h264_nvenc": "H.264 on an NVIDIA GPU",
}
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. "warn" is worth knowing and no obstacle."""

    state: Literal["ok", "warn", "fail"]
    text: str


def doctor(
    path: Annotated[
        Path | None, typer.Argument(help="A model's folder or manifest: says how many slots of it fit.")
    ] = None,
    *,
    port: Annotated[
        int, typer.Option("--port", "-p", help="The port that reactor run shall listen on.")
    ] = 8080,
    from_browser: Annotated[
        bool,
        typer.Option(
            "--from-browser", help="Serve a page that tells which ways its browser has to this machine."
        ),
    ] = False,
    host: Annotated[str, typer.Option("--host", help="The address that page is served at.")] = "127.0.0.1",
) -> None:
    """Check this machine: Python, WebRTC, encoders, shared memory, port, GPU."""
    if from_browser:
        raise typer.Exit(serve_doctor(host, port))
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    checks: dict[str, Callable[[], Finding]] = {
        "Python": check_python,
        "Runtime": check_runtime,
        "WebRTC": check_webrtc,
        "Fallback engine": check_aiortc,
        "Encoders": check_encoders,
        "Shared memory": check_shared_memory,
        "Port": lambda: check_port(port),
        "GPU": check_gpu,
        "PyTorch": check_torch,
    }
    if path is not None:
        checks["Slots"] = lambda: check_slots(path)
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    failed = False
    for name, check in checks.items():
        finding = check()
        failed = failed or finding.state == "fail"
        if console.is_terminal:
            table.add_row(Text(finding.state, style=_STYLES[finding.state]), name, Text(finding.text))
        else:
            typer.echo(f"{finding.state:5} {name:16} {finding.text}")
    if console.is_terminal:
        console.print(table)
    raise typer.Exit(1 if failed else 0)


def serve_doctor(host: str, port: int) -> int:
    """Serve a small model with the page that tries every rung, until Ctrl-C; return the exit status.

    Everything else is as REACTOR_* variables say, so that it is reached as the real server would be.
    """
    from ..config import Settings
    from .init import create
    from .run import require_token
    from .screen import mistakes
    from .serve import serve

    with mistakes(), tempfile.TemporaryDirectory() as folder:
        settings = Settings.load({"host": host, "port": port})
        require_token(settings)
        create(Path(folder) / "doctor")
        return serve(Path(folder) / "doctor", {}, settings, opens="/doctor.html")


def check_python() -> Finding:
    # pip refuses older ones; a source checkout on PYTHONPATH would not.
    found = sys.version_info[:3]
    text = ".".join(map(str, found))
    return Finding("ok", text) if found >= (3, 11) else Finding("fail", f"{text}; 3.11 or newer is needed")


def check_runtime() -> Finding:
    return Finding("ok", f"framehelm {__version__}")


def check_webrtc() -> Finding:
    import asyncio

    from ..errors import PeerFailed
    from ..webrtc.selfcheck import connect_loopback

    try:
        took_s = asyncio.run(connect_loopback(timeout_s=_LOOPBACK_S))
    except PeerFailed as error:
        return Finding("fail", f"{error}. reactor run --engine aiortc may still work")
    return Finding(
        "ok", f"reactor-webrtc {version('reactor-webrtc')}: two peers met in {1000 * took_s:.0f} ms"
    )


def check_aiortc() -> Finding:
    try:
        return Finding("ok", f"aiortc {version('aiortc')}")
    except PackageNotFoundError:
        return Finding("warn", "aiortc is not installed: pip install aiortc")


def check_encoders() -> Finding:
    from ..errors import EncoderFailed
    from ..webrtc.selfcheck import usable_encoders

    try:
        usable = usable_encoders(tuple(_ENCODERS))
    except EncoderFailed as error:
        return Finding("fail", str(error))
    text = ", ".join(_ENCODERS[name] for name in usable) or "none"
    software = {"libx264", "libvpx"} & set(usable)
    return Finding("ok" if software else "fail", text)


def check_shared_memory() -> Finding:
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108  # where POSIX shared memory lives, not a temporary file
    except OSError:
        return Finding("warn", "no /dev/shm to look at")
    text = f"{free / 1e6:.0f} MB free"
    if free < _SHARED_MEMORY_MIN_BYTES:
        return Finding("warn", f"{text}: large frames may not fit. In Docker: --shm-size=512m, or --ipc=host")
    return Finding("ok", text)


def check_port(port: int) -> Finding:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except (OSError, OverflowError) as error:
            return Finding("fail", f"{port}: {error}. Use another: reactor run --port {port + 1}")
    return Finding("ok", f"{port} is free")


def check_gpu() -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("warn", "no NVIDIA GPU found (none is needed for the examples)")
    query = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    return _first_line(query, "nvidia-smi failed")


def check_torch() -> Finding:
    try:
        installed = version("torch")
    except PackageNotFoundError:
        return Finding("warn", "not installed (only models that use it need it)")
    # In a process of its own: a broken CUDA installation can crash or hang the one that asks.
    script = (
        "import torch; print('CUDA ' + str(torch.version.cuda) if torch.cuda.is_available() else 'no GPU')"
    )
    found = _first_line((sys.executable, "-c", script), "cannot be imported")
    return Finding(found.state, f"torch {installed}: {found.text}")


def check_slots(path: Path) -> Finding:
    from ..author.manifest import file_of
    from ..worker import footprint

    takes = footprint.recall(file_of(path))
    if takes is None:
        return Finding("warn", f"not known before the model was loaded once: reactor run {path}")
    free_bytes, cards = footprint.free_memory(), footprint.gpus()
    count = footprint.fitting(takes, free_bytes=free_bytes, cards=cards)
    text = (
        f"{_gb(takes.resident_bytes)} each, {_gb(takes.peak_bytes)} while it loads, of {_gb(free_bytes)} free"
    )
    if takes.gpu_bytes:
        free = " and ".join(_gb(card.free_bytes) for card in cards) or "none"
        text += f"; on a GPU {_gb(takes.gpu_bytes)} each, of {free} free"
    text += f" (measured {takes.measured})"
    if count == 0:
        return Finding("fail", f"{text}: none fits now")
    fits = f"{count} fit" if count > 1 else "1 fits"
    more = f". reactor run {path} --slots {count}; on one GPU they take turns" if count > 1 else ""
    return Finding("ok", f"{text}: {fits}{more}")


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


def _first_line(command: tuple[str, ...], problem: str) -> Finding:
    try:
        done = subprocess.run(  # noqa: S603  # fixed words, no shell
            command, capture_output=True, text=True, timeout=_COMMAND_S, check=True
        )
    except subprocess.CalledProcessError as error:
        return Finding("fail", f"{problem}: {(error.stderr or error.stdout).strip().splitlines()[-1:]}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("fail", f"{problem}: {error}")
    return Finding("ok", done.stdout.strip().splitlines()[0] if done.stdout.strip() else "no answer")
