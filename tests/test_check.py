"""`reactor check` fails each faulty model for its own reason, and no model that is sound."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faulty_models import FAULTS, source_of
from support.forked import finished
from support.headless_models import CAMERA_WAITER
from support.host_events import write_model
from support.promises import by_night

from reactor_runtime import VideoModel
from reactor_runtime.author.manifest import Manifest
from reactor_runtime.cli.check import measure
from reactor_runtime.headless import sample_arguments
from reactor_runtime.headless.check import (
    Answer,
    Evidence,
    Finding,
    Measurements,
    Stop,
    Verdict,
    as_document,
    growth_per_session,
    judge,
    passed,
)
from reactor_runtime.headless.fingerprint import changed, fingerprints

MIB = 1 << 20
EXAMPLES = Path(__file__).parent.parent / "examples"

SOUND = Measurements(
    load_s=1.0,
    fps=30.0,
    frames=["a", "b", "c"],
    answers=[Answer(command="x", expected=True), Answer(command="x", expected=False, code="invalid_command")],
    host_bytes=[100 * MIB + n for n in range(10)],
    stops=[Stop(moment="in full run", seconds=0.1)],
    first_frame_s=0.1,
    rate=30.0,
)


def judged(
    name: str, *, alone: Measurements = SOUND, again: Measurements | None = None, **shared: Any
) -> Finding:
    evidence = Evidence(alone, alone if again is None else again, SOUND.model_copy(update=shared))
    (finding,) = (each for each in judge(evidence) if each.name == name)
    return finding


def frames(*digests: str) -> Measurements:
    return SOUND.model_copy(update={"frames": list(digests)})


def test_a_sound_model_passes_and_a_missing_gpu_is_no_fault() -> None:
    findings = judge(Evidence(SOUND, SOUND, SOUND))
    assert passed(findings)
    assert {each.name: each.verdict for each in findings if each.verdict is not Verdict.PASSED} == {
        "GPU memory": Verdict.UNKNOWN
    }


@pytest.mark.parametrize(
    ("name", "shared", "verdict", "words"),
    [
        ("users apart", {"frames": ["a", "X", "c"]}, Verdict.FAILED, "frame 2"),
        ("users apart", {"frames": ["a", "b"]}, Verdict.FAILED, "frame 3"),
        ("users apart", {"frames": []}, Verdict.UNKNOWN, "did not get that far"),
        ("host memory", {"host_bytes": [n * 2 * MIB for n in range(10)]}, Verdict.FAILED, "grows by 2.0 MiB"),
        ("host memory", {"host_bytes": [9, 200 * MIB, 1, *[MIB] * 7]}, Verdict.PASSED, "flat over 10"),
        ("host memory", {"host_bytes": [1, 2, 3, 4]}, Verdict.UNKNOWN, "did not get that far"),
        ("host memory", {"allocated_bytes": [n * 2 * MIB for n in range(10)]}, Verdict.FAILED, "grows by 2.0"),
        ("GPU memory", {"gpu_bytes": [n * 9 * MIB for n in range(8)]}, Verdict.FAILED, "grows by 9.0 MiB"),
        ("stops", {"stops": [Stop(moment="in full run", seconds=None)]}, Verdict.FAILED, "stopped in full run"),
        ("stops", {"stops": [Stop(moment="in full run", seconds=2.0)]}, Verdict.DOUBTFUL, "2.00 s"),
        ("frame rate", {"rate": 26.0}, Verdict.FAILED, "26.0 frames/s, and 30 are declared"),
        ("frame rate", {"rate": 27.5}, Verdict.PASSED, ""),
        ("frame rate", {"rate": 20.0, "others_share": 0.5}, Verdict.DOUBTFUL, "50% of the processors"),
        ("frame rate", {"rate": 10.0, "others_share": 0.5}, Verdict.FAILED, ""),
        ("frame rate", {"rate": 3.0, "fps": None}, Verdict.PASSED, "none are declared"),
        ("first frame", {"first_frame_s": 9.0}, Verdict.DOUBTFUL, "9.00 s"),
        ("runs", {"error": "model_error: boom"}, Verdict.FAILED, "boom"),
        ("commands", {"answers": [Answer(command="x", expected=False)]}, Verdict.FAILED, "accepted invalid"),
        ("commands", {"answers": [Answer(command="x", expected=True, code="no")]}, Verdict.PASSED, "its right"),
    ],
)  # fmt: skip
def test_a_verdict_follows_from_what_was_measured(
    name: str, shared: dict[str, Any], verdict: Verdict, words: str
) -> None:
    finding = judged(name, **shared)
    assert finding.verdict is verdict
    assert words in finding.words


def test_what_does_not_repeat_is_not_taken_for_a_leak() -> None:
    evidence: dict[str, Any] = {"alone": frames("a", "b"), "again": frames("a", "X"), "frames": ["a", "Y"]}
    assert judged("repeatable", **evidence).verdict is Verdict.FAILED
    assert judged("users apart", **evidence).verdict is Verdict.UNKNOWN


@given(st.lists(st.integers(0, 10**9), min_size=10, max_size=10), st.integers(0, 9), st.integers(0, 10**12))
def test_one_odd_session_does_not_make_a_flat_memory_grow(noise: list[int], at: int, odd: int) -> None:
    after = [5 * 10**8] * 10
    after[at] = odd
    assert growth_per_session(after) == 0
    growing = [n * 10**10 + each for n, each in enumerate(noise)]
    assert growth_per_session(growing) > 9 * 10**9


@given(st.lists(st.integers(4 * MIB, 5 * MIB), min_size=5, max_size=9))
def test_a_leak_of_uneven_size_is_told_as_large_as_it_is(steps: list[int]) -> None:
    after = [100 * MIB]
    for step in steps:
        after.append(after[-1] + step)
    assert growth_per_session(after) >= 4 * MIB


@given(st.integers(0, 9), st.integers(0, 10**12), st.sampled_from([6, 10]))
def test_a_single_step_is_no_growth_and_the_same_in_every_session_is(at: int, step: int, count: int) -> None:
    assert growth_per_session([5 * 10**8 + (step if n >= at else 0) for n in range(count)]) == 0
    assert growth_per_session([5 * 10**8 + step * n for n in range(count)]) == step


# Arguments from schemas -------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", ["testcard", "stylize", "drive"])
def test_sample_arguments_fit_the_schema_and_wrong_ones_do_not(example: str) -> None:
    manifest = Manifest.read(EXAMPLES / example)
    for command in manifest.info(manifest.load_class()).commands:
        check = jsonschema.Draft202012Validator(command.parameters)
        one, other = (sample_arguments.valid(command.parameters, variant) for variant in (0, 1))
        assert check.is_valid(one), (command.name, one)
        assert check.is_valid(other), (command.name, other)
        if command.parameters["properties"]:
            assert one != other, command.name
        for wrong in sample_arguments.invalid(command.parameters):
            assert not check.is_valid(wrong), (command.name, wrong)


# What leaked ------------------------------------------------------------------------------------------------


def test_a_fingerprint_names_what_changed_wherever_it_is(tmp_path: Path) -> None:
    source = """
import numpy as np
from dataclasses import dataclass, field
from reactor_runtime import VideoModel
SEEN = []
@dataclass(slots=True)
class Wishes:
    prompt: str = ""
    size: int = 3
class Model(VideoModel):
    TABLE = {"a": [1]}
    def __init__(self):
        self.wishes, self.noise, self.same = Wishes(), np.zeros(9), {"x": [1, 2]}
        self.me = self
        self.random = np.random.default_rng(1)
    def start_session(self):
        yield None
    def remember(self, word, words=[]):
        words.append(word)
"""
    manifest = Manifest.read(write_model(tmp_path, source))
    model: Any = manifest.construct(manifest.load_class())
    before = fingerprints(model)
    assert changed(before, fingerprints(model)) == []
    model.wishes.prompt = "left behind"
    model.noise[4] = 1
    model.random.random()
    model.TABLE["a"].append(2)
    model.remember("x")
    sys.modules["authored"].SEEN.append(1)
    model.new = 1
    assert changed(before, fingerprints(model)) == [
        "new",
        "noise",
        "random",
        "wishes.prompt",
        "a default of remember()",
        "class attribute TABLE",
        "global SEEN of authored.py",
    ]


# The whole -------------------------------------------------------------------------------------------------


def reactor(*arguments: object, within_s: float = 110) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("reactor")), *map(str, arguments)]
    return finished(command, os.environ, within_s=within_s)


def reactor_check(path: Path, *flags: str, within_s: float = 110) -> tuple[int, dict[str, Any]]:
    done = reactor("check", path, "--json", "--sessions", "6", "--stop-s", "1", *flags, within_s=within_s)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


#: What judges the others is tried above without processes.
EACH_CHANGE = ("sound", "leaks a prompt", "a thread stays", "leaks host memory", "ignores stop")
LATER = [name for name in FAULTS if name not in EACH_CHANGE]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*EACH_CHANGE, *by_night(*LATER)])
def test_a_faulty_model_fails_for_its_own_reason_and_a_sound_one_does_not(fault: str, tmp_path: Path) -> None:
    _, name, words, hint = FAULTS[fault]
    options: dict[str, Any] = {"args": {}, "sessions": 6, "stop_s": 1.0, "stall_s": 60.0}
    # The command would be one more process for each fault; tests below have it.
    evidence = measure(
        write_model(tmp_path, source_of(fault)), options, verbose=False, tell=lambda step: None
    )
    findings = judge(evidence)
    failed = {each.name: each for each in findings if each.verdict is Verdict.FAILED}
    assert set(failed) == ({name} if name else set()), failed
    assert passed(findings) is (name is None)
    if name:
        assert words in failed[name].words
        assert hint in failed[name].hint


TINY = ("--arg", "profile=tiny", "--arg", "size=[32,48]")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("example", "flags"),
    [
        ("testcard", ()),
        # Four processes each that load and run a network, the last two libraries for seven seconds before; at every
        # change test_drive.py, test_examples.py and test_wan_models.py have users after another.
        *by_night(
            ("drive", ()),
            # Its rate is what the machine gives; the one it declares is for the machine of the README.
            ("stylize", ("--arg", "fps=8")),
            *((name, (*TINY, "--sessions", "10")) for name in ("longlive", "matrix")),
        ),
    ],
)
def test_what_is_shipped_passes(example: str, flags: tuple[str, ...]) -> None:
    status, found = reactor_check(EXAMPLES / example, *flags, within_s=280)
    assert [each for each in found["findings"] if each["verdict"] == "failed"] == []
    assert status == 0


@pytest.mark.slow
def test_a_new_project_passes(tmp_path: Path) -> None:
    assert reactor("init", tmp_path / "mine").returncode == 0
    status, found = reactor_check(tmp_path / "mine")
    assert status == 0, found


@pytest.mark.slow
def test_a_model_that_waits_for_a_camera_is_checked_with_a_synthetic_one_or_a_film(tmp_path: Path) -> None:
    manifest = write_model(tmp_path, CAMERA_WAITER)
    status, found = reactor_check(manifest)
    assert status == 0, found
    (runs,) = (each for each in found["findings"] if each["name"] == "runs")
    assert "command" not in runs["words"]
    done = reactor("check", manifest, "--input", tmp_path / "none.mp4")
    assert done.returncode == 2
    assert "--input" in done.stderr


def test_looking_at_a_model_prints_none_of_its_libraries_warnings(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    class Old:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]  # as libraries warn of old attributes
            logging.getLogger("library").warning("is old")
            warnings.warn("is old", FutureWarning, stacklevel=1)
            return {"a": 1}

    class Model(VideoModel):
        def __init__(self) -> None:
            self.held = Old()

        def start_session(self) -> None: ...

    assert fingerprints(Model())
    assert caplog.records == []
    assert capsys.readouterr().err == ""
    logging.getLogger("library").warning("is told again")
    assert len(caplog.records) == 1


@pytest.mark.slow
def test_the_findings_are_told_in_words_with_a_fix_for_what_failed(tmp_path: Path) -> None:
    manifest = write_model(tmp_path, source_of("leaks a prompt"))
    done = reactor("check", manifest, "--sessions", "6", "--fix-hints")
    assert done.returncode == 1
    assert "users apart: failed: a second user's frame 1 shows what the first one left behind" in done.stdout
    assert "  Fix: not as before the first user: prompt; forget it in reset()" in done.stdout


def test_the_document_has_every_finding() -> None:
    findings = judge(Evidence(SOUND, SOUND, SOUND))
    document = as_document(findings)
    assert [each["name"] for each in document["findings"]] == [each.name for each in findings]
    assert document["passed"] is True
