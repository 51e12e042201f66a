"""A HostEvents that records, for tests of the hosts; and manifests for them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reactor_runtime.config import Settings
from reactor_runtime.errors import ModelFailed
from reactor_runtime.host import ModelHost
from reactor_runtime.types import (
    CommandCall,
    CommandOutcome,
    Demand,
    EmittedFrame,
    JsonObject,
    LogLine,
    ModelMessage,
)


class Recording:
    """Keeps every event with its time. Frames are released at once, unless `hold` is set."""

    def __init__(self) -> None:
        self.host: ModelHost | None = None
        self.hold = False
        self.held: list[EmittedFrame] = []
        self.frames: list[tuple[int, float, int]] = []
        self.discarded_after: list[int] = []
        """At each wish to discard frames, the id of the last one that had come."""
        self.pixels: tuple[int, ...] = ()
        self.sizes: list[tuple[int, ...]] = []
        self.busy_s: list[float] = []
        self.outcomes: list[CommandOutcome] = []
        self.messages: list[ModelMessage] = []
        self.numbers: list[JsonObject] = []
        self.frames_failed: list[str] = []
        self.ended: list[ModelFailed | None] = []
        self.failures: list[ModelFailed] = []
        self.failed_s = 0.0
        self.ended_s = 0.0
        self.lines: list[str] = []
        self.records: list[LogLine] = []
        self._lock = threading.Lock()

    def frame(self, frame: EmittedFrame) -> None:
        with self._lock:
            self.frames.append((frame.frame_id, time.monotonic(), frame.command_id))
            self.sizes.append(frame.pixels.shape)
            self.busy_s.append(frame.busy_s)
            self.pixels = tuple(int(v) for v in frame.pixels[0, 0])
            if self.hold:
                self.held.append(frame)
                return
        frame.release()

    def frames_discarded(self) -> None:
        self.discarded_after.append(self.frames[-1][0] if self.frames else 0)

    def outcome(self, outcome: CommandOutcome) -> None:
        self.outcomes.append(outcome)

    def message(self, message: ModelMessage) -> None:
        self.messages.append(message)

    def metrics(self, values: JsonObject) -> None:
        self.numbers.append(values)

    def frame_failed(self, raised: str) -> None:
        self.frames_failed.append(raised)

    def session_ended(self, error: ModelFailed | None) -> None:
        self.ended_s = time.monotonic()
        self.ended.append(error)

    def failed(self, error: ModelFailed) -> None:
        self.failed_s = time.monotonic()
        self.failures.append(error)

    def log(self, line: LogLine) -> None:
        self.records.append(line)
        self.lines.append(line.text)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def until(self, condition: Callable[[], object], within_s: float = 15.0) -> None:
        """Wait for a condition; the failure says what was recorded instead."""
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline_s, (
                f"not within {within_s} s; frames {len(self.frames)}, outcomes {self.outcomes[-3:]}, "
                f"ended {self.ended}, failures {self.failures}, log:\n{self.text[-3000:]}"
            )
            await asyncio.sleep(0.005)

    async def more_frames(self, count: int = 3, within_s: float = 15.0) -> None:
        """Wait until so many more frames came."""
        wanted = len(self.frames) + count
        await self.until(lambda: len(self.frames) >= wanted, within_s)

    async def ask(
        self, host: ModelHost, name: str, within_s: float = 15.0, **arguments: Any
    ) -> CommandOutcome:
        """Send a command and return what became of it."""
        command_id = 1 + max((outcome.command_id for outcome in self.outcomes), default=0)
        host.send_command(CommandCall(command_id, name, arguments))
        await self.until(lambda: any(o.command_id == command_id for o in self.outcomes), within_s)
        return next(o for o in self.outcomes if o.command_id == command_id)


def settings(**values: Any) -> Settings:
    """Return settings that no environment variable changes."""
    return Settings.load(values, {})


def watch(host: ModelHost, interval_s: float = 0.005) -> None:
    """Say that someone watches, and wants every frame at once."""
    host.demand(Demand(frame_id=1, due_s=0.0, interval_s=interval_s, watched=True))


def write_manifest(folder: Path, class_path: str, **args: Any) -> Path:
    path = folder / "manifest.json"
    path.write_text(
        json.dumps(
            {
                "reactor-runtime": "0.0.0",
                "class": class_path,
                "model_name": "tested",
                "model_version": "1.0.0",
                "args": args,
            }
        )
    )
    return path


def write_model(folder: Path, source: str, class_name: str = "Model", **args: Any) -> Path:
    """Write a module with a model class and its manifest into a folder."""
    (folder / "authored.py").write_text(source)
    return write_manifest(folder, f"authored:{class_name}", **args)
