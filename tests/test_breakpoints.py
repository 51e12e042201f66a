"""`breakpoint()` where there is no terminal is passed by and told; with --inline it stops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.audience import watching
from support.server import REACTOR, write_model

from reactor_runtime.worker.breakpoints import PassedBy
from reactor_runtime.worker.parent import ProcessHost

MODEL = """
    import numpy as np
    from reactor_runtime import VideoModel

    class Model(VideoModel):
        fps = 30

        def start_session(self):
            number = 0
            while True:
                number += 1
                breakpoint()
                yield np.full((16, 16, 3), number, np.uint8)
"""


def test_each_place_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", PassedBy(told.append))
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    for _ in range(3):
        breakpoint()
    breakpoint()
    assert len(told) == 2
    assert all(line.startswith(f"{__file__}:") and "--inline" in line for line in told)


def test_a_debugger_that_is_named_in_the_environment_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", PassedBy(told.append))
    monkeypatch.setenv("PYTHONBREAKPOINT", "builtins.len")
    assert breakpoint("four") == 4  # type: ignore[func-returns-value]
    assert told == []


@pytest.mark.slow
async def test_a_model_process_passes_a_breakpoint_by_and_says_so(tmp_path: Path) -> None:
    async with watching(write_model(tmp_path, MODEL), host=ProcessHost) as user:
        assert int((await user.look(5)).max()) == 5
        said = [line for line in user.lines if "breakpoint() was passed by" in line]
        assert len(said) == 1
        assert "model.py:" in said[0]


@pytest.mark.slow
def test_reactor_render_stops_at_a_breakpoint(tmp_path: Path) -> None:
    folder = write_model(tmp_path, MODEL)
    done = subprocess.run(
        [str(REACTOR), "render", str(folder), "--out", str(tmp_path / "film.mp4"), "--frames", "4"],
        input="p 100 + number\nc\nc\nc\nc\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    # stdout is for results only, so that it can be piped.
    assert "(Pdb) 101" in done.stderr
    assert done.returncode == 0, done.stderr
