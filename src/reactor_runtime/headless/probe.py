"""Measures one model in a process of its own, for `check`. Run as `python -m reactor_runtime.probe PLAN`.

    check ──plan──▶ probe: the in-process host, one session after the other ──Measurements──▶ check

A fresh process, because what one user leaves behind may lie anywhere in it, and because a model that does not
stop can only be left by leaving its process. Stdout carries the result and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from .. import codes
from ..author.manifest import Manifest
from ..config import Settings
from ..errors import ModelFailed, ModelHung, ReactorError
from ..running.context import strays
from ..running.inbox import Feed
from ..running.inline import InlineHost
from ..session_log.digests import digest_of
from ..session_log.script import cues_of
from ..types import CommandSpec, Cue, Demand, EmittedFrame, JsonObject, ModelInfo, track_names
from . import sample_arguments
from .check import Answer, Measurements, Stop
from .film import ClipFeed
from .fingerprint import changed, fingerprints
from .memory import allocated_bytes, gpu_bytes, resident_bytes
from .render import Catcher, Rendered, Take, perform
from .synthetic_camera import SyntheticCamera

#: B watches for so many frames before it says anything.
_SILENT: Final = 6
#: Frames after the last command.
_AFTER: Final = 3
#: The rate is measured over this long at most, after so many first frames.
_RATE_S: Final = 3.0
_RATE_FRAMES: Final = 90
_RATE_WARM: Final = 4


class Plan(BaseModel):
    """What to measure. `alone`: user B only. `shared`: everything else, with B after A."""

    manifest: str
    args: dict[str, Any] = Field(default_factory=dict)
    part: Literal["alone", "shared"]
    sessions: int = 10
    stop_s: float = 5.0
    stall_s: float = 60.0
    input: str = ""
    """A film in place of the synthetic camera, for a model that takes video."""
    speak_first: bool = False
    """The model shows nothing before a command."""


class _Halted(Exception):
    """The model cannot be measured any further; `Measurements` says why."""


def main(text: str) -> None:
    """Measure, print the result, and leave without waiting for a model that does not stop."""
    # Here, because it is needed before anything of the author's can print.
    from .stdout import claim_stdout

    results = claim_stdout()
    plan = Plan.model_validate_json(text)
    found = asyncio.run(measure(plan))
    results.write(found.model_dump_json())
    results.flush()
    sys.stderr.flush()
    os._exit(0)


async def measure(plan: Plan) -> Measurements:
    return await _Probe(plan).run()


class _Probe:
    """One host and what was measured on it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._found = Measurements()
        self._catcher = Catcher(lambda line: print(line, file=sys.stderr))
        manifest = Manifest.read(Path(plan.manifest))
        os.chdir(manifest.folder)
        settings = Settings.load({"stop_s": plan.stop_s}, {})
        self._host = InlineHost(self._catcher, manifest.file, plan.args, settings)
        self._commands: tuple[CommandSpec, ...] = ()
        self._takes_video = False

    async def run(self) -> Measurements:
        try:
            await self._load()
            if self._plan.part == "alone":
                await self._b()
            else:
                await self._share()
            await self._host.close()
        except _Halted:
            pass
        except ReactorError as error:
            self._found.error = self._found.error or f"{error.code}: {error}"
        return self._found

    async def _load(self) -> None:
        started_s = time.monotonic()
        info: ModelInfo = await self._host.load()
        self._found.load_s = time.monotonic() - started_s
        self._found.fps = info.fps
        self._takes_video = bool(track_names(info.tracks, "in"))
        # Those without arguments first: a "reset" of the user's own must not wipe what is looked for.
        self._commands = tuple(
            sorted(info.commands, key=lambda each: bool(each.parameters.get("properties")))
        )

    async def _share(self) -> None:
        before = fingerprints(self._host.model)
        await self._a()
        self._found.changed = changed(before, fingerprints(self._host.model))
        if strays():
            await asyncio.sleep(_THREADS_END_S)
        self._found.strays = strays()
        await self._b()
        await self._invalid()
        while len(self._found.host_bytes) < self._plan.sessions:
            await self._a()
        await self._rate()
        for moment, frames, watched in _MOMENTS:
            await self._stop(moment, frames, watched)

    # Sessions -----------------------------------------------------------------------------------------

    async def _a(self) -> None:
        """The first user: says everything there is to say, one command a frame."""
        places = [(1, 1) if self._plan.speak_first else (2 + n, 0) for n in range(len(self._commands))]
        rendered = await self._perform(self._cues(places, variant=0), seed=1)
        if self._found.first_frame_s is None:
            self._found.first_frame_s = rendered.first_frame_s
        self._weigh()

    async def _b(self) -> None:
        """The second user: watches first, then says something else."""
        places = [
            (1, 1) if self._plan.speak_first else (1 + _SILENT + n, 0) for n in range(len(self._commands))
        ]
        await self._perform(self._cues(places, variant=1), seed=2, at_least=_SILENT, keep=self._found.frames)
        self._weigh()

    async def _invalid(self) -> None:
        """Arguments that have to be refused."""
        calls: list[tuple[int, int, str, JsonObject]] = [
            (2, 0, each.name, wrong)
            for each in self._commands
            for wrong in sample_arguments.invalid(each.parameters)
        ]
        if calls and not self._plan.speak_first:
            await self._perform(cues_of(calls), seed=1, expected=False)

    def _camera(self, user: int) -> Feed | None:
        """Return what this user's camera shows, from its beginning."""
        if not self._takes_video:
            return None
        if self._plan.input:
            return ClipFeed(Path(self._plan.input), fps=self._found.fps or 30.0)
        return SyntheticCamera(tint=100 * user)

    def _cues(self, places: list[tuple[int, int]], *, variant: int) -> list[Cue]:
        return cues_of(
            (frame, waits, each.name, sample_arguments.valid(each.parameters, variant))
            for (frame, waits), each in zip(places, self._commands, strict=True)
        )

    async def _perform(
        self,
        cues: list[Cue],
        *,
        seed: int,
        at_least: int = 0,
        keep: list[str] | None = None,
        expected: bool = True,
    ) -> Rendered:
        """Run a session until a few frames after its last command, however long the model's blocks are."""
        shown = 0

        def last() -> int | None:
            """The same frame each time, because a command's place is."""
            answered = self._catcher.outcomes
            if len(answered) < len(cues):
                return None
            return max([at_least, *(each.frame_id for each in answered)]) + _AFTER

        def show(frame: EmittedFrame) -> bool:
            nonlocal shown
            shown = frame.frame_id
            if keep is not None:
                keep.append(digest_of(frame.pixels))
            return (end := last()) is not None and shown >= end

        take = Take(Path(), seed=seed, cues=cues, feed=self._camera(seed), stall_s=self._plan.stall_s)
        began_s = time.monotonic()
        try:
            rendered = await perform(self._host, self._catcher, take, show)
        except ModelHung as error:
            if self._catcher.error is None and not self._found.host_bytes and not self._plan.speak_first:
                self._found.waits_for_command = True
            else:
                self._found.error = str(error)
            raise _Halted from None
        finally:
            self._answer(cues, expected)
        made = f"after frame {shown}"
        self._judge_end(made)
        if keep is not None and (end := last()) is not None:
            del keep[end:]
        self._found.stops.append(
            Stop(moment=made, seconds=max(0.0, time.monotonic() - began_s - rendered.seconds))
        )
        return rendered

    def _judge_end(self, moment: str) -> None:
        """After a session: one that did not stop, or failed, ends the measurements."""
        if isinstance(self._catcher.error, ModelHung):
            self._found.stops.append(Stop(moment=moment, seconds=None))
            raise _Halted
        if self._catcher.error is not None:
            self._fail(self._catcher.error)

    def _fail(self, error: ModelFailed) -> None:
        self._found.error = f"{error.code}: {error}"
        raise _Halted

    def _answer(self, cues: list[Cue], expected: bool) -> None:
        names = {cue.call.command_id: cue.call.name for cue in cues}
        self._found.answers += [
            Answer(command=names[each.command_id], expected=expected, code=each.code, message=each.message)
            for each in self._catcher.outcomes
            # What waited when the session ended was not answered by the model.
            if each.code != codes.SESSION_ENDED and each.command_id in names
        ]

    # Measurements -------------------------------------------------------------------------------------

    def _weigh(self) -> None:
        """Note the memory after a session, with everything given back that nobody holds."""
        self._found.host_bytes.append(resident_bytes())
        if (allocated := allocated_bytes()) is not None:
            self._found.allocated_bytes.append(allocated)
        if (used := gpu_bytes()) is not None:
            self._found.gpu_bytes.append(used)

    async def _rate(self) -> None:
        places = [(1, 1)] * len(self._commands) if self._plan.speak_first else []
        cues = self._cues(places, variant=0) if places else []
        times: list[float] = []
        busy = _Processors()

        def show(frame: EmittedFrame) -> bool:
            times.append(time.monotonic())
            if len(times) == _RATE_WARM:
                busy.begin()
            return len(times) > _RATE_WARM and times[-1] - times[_RATE_WARM - 1] > _RATE_S

        take = Take(
            Path(),
            frames=_RATE_FRAMES + _RATE_WARM,
            seed=1,
            cues=cues,
            feed=self._camera(1),
            stall_s=self._plan.stall_s,
        )
        try:
            await perform(self._host, self._catcher, take, show)
        except ModelHung as error:
            self._fail(error)
        self._judge_end("in full run")
        if len(times) > _RATE_WARM:
            # From the last of the first frames on, so that a block counts with the time it took.
            self._found.rate = (len(times) - _RATE_WARM) / (times[-1] - times[_RATE_WARM - 1])
            self._found.others_share = busy.others_share()

    async def _stop(self, moment: str, frames: int, watched: bool) -> None:
        """Stop a session that has made so many frames, and time its end."""
        catcher, host = self._catcher, self._host
        catcher.begin()
        speak = self._cues([(1, 1)] * len(self._commands), variant=0) if self._plan.speak_first else []
        host.start_session("stopped", seed=1, cues=speak, feed=self._camera(1))
        if watched:
            host.demand(Demand(2**62, due_s=0.0, interval_s=1e6, watched=True))
        take = Take(Path(), cues=speak, stall_s=self._plan.stall_s)
        held: list[EmittedFrame] = []
        try:
            for _ in range(frames):
                frame = await catcher.next(host, take)
                if frame is None:
                    break
                if watched:
                    frame.release()
                else:
                    held.append(frame)
            began_s = time.monotonic()
            await host.stop_session()
            await catcher.until_ended()
        except ModelHung as error:
            self._fail(error)
        finally:
            for frame in held:
                frame.release()
        seconds = time.monotonic() - began_s
        self._judge_end(moment)
        self._found.stops.append(Stop(moment=moment, seconds=seconds))


#: In words, how many frames it has made, and whether someone wants more.
#: How long the threads of a session may take to see that it is over.
_THREADS_END_S = 0.5
_MOMENTS: Final = (
    ("at its very start", 0, True),
    ("after its first frame", 1, True),
    ("in full run", 5, True),
    ("while nobody watches", 2, False),
)


class _Processors:
    """Which share of the time a thread of ours was ready to run, and another program ran instead."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._began_s, self._then_s = time.monotonic(), _waited_s()

    def others_share(self) -> float:
        elapsed_s = time.monotonic() - self._began_s
        waited_s = [now_s - self._then_s.get(thread, 0.0) for thread, now_s in _waited_s().items()]
        return min(1.0, max(waited_s, default=0.0) / elapsed_s) if elapsed_s > 0 else 0.0


def _waited_s() -> dict[str, float]:
    """Return how long each thread has waited for a processor: schedstat, Linux sched-stats.rst; else nothing."""
    found = {}
    for thread in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError, IndexError):
            found[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return found


if __name__ == "__main__":
    main(sys.argv[1])
