"""What a loaded model takes, how it is remembered, and how many slots are said to fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reactor_runtime import limits
from reactor_runtime.cli.doctor import check_slots
from reactor_runtime.worker import footprint
from reactor_runtime.worker.footprint import Footprint, Gpu, fitting, free_memory, measure, recall, remember

GB = 10**9
MIB = limits.MIB


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs; what its driver says of them and of processes is in the two files of this folder."""
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "gpus").write_text("0, GPU-a, 24000, 1000\n1, GPU-b, 24000, 23500\n")
    (folder / "processes").write_text("")
    program = folder / "nvidia-smi"
    program.write_text(
        f'#!/bin/sh\ncase "$1" in *compute-apps*) cat {folder}/processes;; *) cat {folder}/gpus;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def takes(resident: int = GB, peak: int = GB, gpu: int | None = None) -> Footprint:
    return Footprint(resident, peak, gpu, "2026-11-27")


@pytest.mark.parametrize(
    ("footprint", "free_bytes", "count"),
    [
        (takes(), 10 * GB, 10),
        (takes(), GB - 1, 0),
        # The last to load needs its peak beside those that are loaded.
        (takes(peak=4 * GB), 10 * GB, 7),
        (takes(peak=4 * GB), 3 * GB, 0),
        # 23 GB are free on one card and 0.5 on the other: no slot lies on both.
        (takes(gpu=6 * GB), 10 * GB, 3),
        (takes(gpu=6 * GB), 2 * GB, 2),
        (takes(gpu=40 * GB), 10 * GB, 0),
        (takes(resident=1, peak=1), 10 * GB, limits.SLOTS_MAX),
    ],
)
def test_as_many_slots_fit_as_there_is_memory_for(footprint: Footprint, free_bytes: int, count: int) -> None:
    cards = [Gpu("0", "a", 24 * GB, GB), Gpu("1", "b", 24 * GB, 23 * GB + GB // 2)]
    assert fitting(footprint, free_bytes=free_bytes, cards=cards) == count


def test_what_a_process_alone_holds_is_measured_and_shared_files_are_not(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(bytes(64 * MIB))
    program = (
        "import mmap, sys; own = bytearray(48 << 20); own[::4096] = b'1' * len(own[::4096]);"
        f"opened = open({str(file)!r}, 'rb');"
        "file = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ); sum(file[::4096]);"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = measure(process.pid)
        peak = measure(process.pid, peak_bytes=GB)
    assert found is not None
    assert 48 * MIB <= found.resident_bytes == found.peak_bytes < 80 * MIB
    assert peak is not None
    assert peak.peak_bytes == GB
    assert measure(process.pid) is None


def test_the_driver_says_what_a_process_takes_and_else_what_the_card_gained(driver: Path) -> None:
    before = footprint.gpus()
    assert [(gpu.index, gpu.free_bytes) for gpu in before] == [("0", 23000 * MIB), ("1", 500 * MIB)]
    (driver / "gpus").write_text("0, GPU-a, 24000, 7000\n1, GPU-b, 24000, 23600\n")

    def on_gpu(**how: object) -> int | None:
        found = measure(os.getpid(), **how)  # type: ignore[arg-type]
        assert found is not None
        return found.gpu_bytes

    assert on_gpu() is None
    assert on_gpu(before=before) == 6100 * MIB
    assert on_gpu(before=before, gpu="1") == 100 * MIB
    (driver / "processes").write_text(f"1, 9000\n{os.getpid()}, 5000\n{os.getpid()}, 200\n")
    assert on_gpu() == on_gpu(before=before) == 5200 * MIB


@pytest.mark.parametrize("broken", ["exit 1", "echo '[N/A]'", "echo '0, GPU-a, [N/A], [N/A]'"])
def test_a_driver_that_says_nothing_useful_is_no_gpu(driver: Path, broken: str) -> None:
    (driver / "nvidia-smi").write_text(f"#!/bin/sh\n{broken}\n")
    assert footprint.gpus() == []


def test_models_are_remembered_apart_and_the_oldest_is_forgotten(tmp_path: Path, state: Path) -> None:
    manifests = [tmp_path / f"{number}" / "manifest.json" for number in range(limits.FOOTPRINTS + 1)]
    assert recall(manifests[0]) is None
    for number, manifest in enumerate(manifests):
        remember(manifest, takes(resident=number))
    assert recall(manifests[0]) is None
    assert recall(manifests[1]) == takes(resident=1)
    remember(manifests[1], takes(resident=7))
    remember(manifests[0], takes())
    assert recall(manifests[1]) == takes(resident=7)
    assert [file.name for file in (state / "reactor").iterdir()] == ["footprints.json"]
    for content in ("", "[1]", "{", '{"x": 3}'):
        (state / "reactor" / "footprints.json").write_text(content)
        assert recall(manifests[1]) is None
        remember(manifests[1], takes())
        assert recall(manifests[1]) == takes()


def test_nothing_is_remembered_where_nothing_can_be_kept(tmp_path: Path, state: Path) -> None:
    state.write_text("a file")
    remember(tmp_path, takes())
    assert recall(tmp_path) is None


def test_a_model_that_has_run_takes_more_than_one_that_was_loaded() -> None:
    assert takes(1, 5, 3).with_more(takes(2, 2)) == takes(2, 5, 3)
    assert takes(4, 5).with_more(takes(2, 9, 1)) == takes(4, 9, 1)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({}, 8000),
        ({"memory.max": "max"}, 8000),
        (
            {"memory.max": "4096000", "memory.current": "2048000", "memory.stat": "inactive_file 1024000\n"},
            3000,
        ),
        ({"memory.max": "1024000", "memory.current": "2048000", "memory.stat": ""}, 0),
        ({"memory.max": "1024000000", "memory.current": "0", "memory.stat": ""}, 8000),
    ],
)
def test_a_container_has_no_more_free_than_it_was_given(
    tmp_path: Path, group: dict[str, str], expected: int
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  16000 kB\nMemAvailable:  8000 kB\n")
    for name, content in group.items():
        (tmp_path / name).write_text(content)
    assert free_memory(tmp_path, tmp_path / "meminfo") == expected * limits.KIB


@pytest.mark.usefixtures("driver")
def test_the_doctor_says_how_many_slots_fit_once_a_model_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footprint, "free_memory", lambda: 16 * GB)
    assert check_slots(tmp_path).text == f"not known before the model was loaded once: reactor run {tmp_path}"
    (tmp_path / "manifest.json").write_text("{}")

    def said(footprint: Footprint) -> tuple[str, str]:
        remember(tmp_path / "manifest.json", footprint)
        finding = check_slots(tmp_path)
        return finding.state, finding.text

    state, text = said(takes(resident=2 * GB, peak=4 * GB))
    assert state == "ok"
    assert text.startswith(
        "2.0 GB each, 4.0 GB while it loads, of 16.0 GB free (measured 2026-11-27): 7 fit."
    )
    assert f"reactor run {tmp_path} --slots 7" in text
    state, text = said(takes(gpu=20 * GB))
    assert (state, text.rpartition(": ")[2]) == ("ok", "1 fits")
    assert "on a GPU 20.0 GB each, of 24.1 GB and 0.5 GB free" in text
    assert said(takes(resident=20 * GB, peak=20 * GB))[0] == "fail"
