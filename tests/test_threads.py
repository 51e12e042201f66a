"""The threads that a model computes with: what is left of the cores, unless somebody says otherwise."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.host_events import Recording, settings, write_model
from support.server import REACTOR

from reactor_runtime.cli.check import probe
from reactor_runtime.worker.parent import ProcessHost
from reactor_runtime.worker.threads import VARIABLES, environment, usable_cores


@pytest.mark.parametrize(
    ("inherited", "asked", "cores", "expected"),
    [
        ({}, 0, 8, "7"),
        ({}, 0, 1, "1"),
        ({}, 5, 8, "5"),
        ({"OMP_NUM_THREADS": "3"}, 0, 8, "3"),
        ({"OMP_NUM_THREADS": ""}, 0, 8, "7"),
        ({"OMP_NUM_THREADS": "3"}, 5, 8, "5"),
    ],
)
def test_one_core_is_left_unless_the_operator_or_the_environment_says_otherwise(
    inherited: dict[str, str], asked: int, cores: int, expected: str
) -> None:
    found = environment({"PATH": "/bin", **inherited}, asked, cores)
    assert (found["PATH"], found["OMP_NUM_THREADS"]) == ("/bin", expected)
    if inherited.get("OMP_NUM_THREADS") and not asked:
        assert "MKL_NUM_THREADS" not in found


@pytest.mark.parametrize(("slots", "expected"), [(1, "7"), (2, "3"), (3, "2"), (9, "1")])
def test_the_model_processes_of_several_slots_share_what_is_left(slots: int, expected: str) -> None:
    assert environment({}, 0, 8, slots=slots)["OMP_NUM_THREADS"] == expected


def test_a_slot_s_gpu_is_the_only_one_that_its_process_sees_counted_as_nvidia_smi_does() -> None:
    found = environment({"CUDA_VISIBLE_DEVICES": "0,1,2"}, 0, 8, gpu="1")
    assert (found["CUDA_VISIBLE_DEVICES"], found["CUDA_DEVICE_ORDER"]) == ("1", "PCI_BUS_ID")
    assert "CUDA_VISIBLE_DEVICES" not in environment({}, 0, 8)


@pytest.mark.parametrize(
    ("text", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", None)]
)
def test_a_containers_share_of_the_cores_counts(tmp_path: Path, text: str, expected: int | None) -> None:
    whole = usable_cores(tmp_path)
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == (whole if expected is None else min(whole, expected))


TELLS = """
import os
print("threads", os.environ["OMP_NUM_THREADS"])
from reactor_runtime import VideoModel

class Model(VideoModel):
    def start_session(self):
        yield None
"""


@pytest.mark.slow
async def test_the_number_is_set_before_the_model_imports_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for asked, expected in ((0, max(1, usable_cores() - 1)), (3, 3)):
        events = Recording()
        host = ProcessHost(events, write_model(tmp_path, TELLS), {}, settings(model_threads=asked))
        await host.load()
        await host.close()
        assert f"threads {expected}" in events.text


@pytest.mark.slow
def test_a_render_computes_with_the_threads_of_a_live_model(tmp_path: Path) -> None:
    folder = write_model(
        tmp_path, TELLS.replace("yield None", "yield __import__('numpy').zeros((32, 32, 3))")
    )
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [str(REACTOR), "render", str(folder), "--frames", "1", "--out", str(tmp_path / "film.mp4")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**kept, "REACTOR_MODEL_THREADS": "3"}
    )
    assert "threads 3" in done.stdout + done.stderr


def test_a_check_computes_with_the_threads_of_a_live_model(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, str] = {}

    def run(command: list[str], *, env: dict[str, str], **_: object) -> subprocess.CompletedProcess[bytes]:
        given.update(env)
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("REACTOR_MODEL_THREADS", "3")
    probe({}, verbose=False)
    assert {given[name] for name in VARIABLES} == {"3"}
