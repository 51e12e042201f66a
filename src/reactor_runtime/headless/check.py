"""Is this model fit for users? Verdicts from measurements. Pure; `probe` measures.

    alone   a fresh process: user B only           alone again   another one: is B repeatable at all?
    shared  a third: user A, then user B, then others, memory after each, stops, rate

B says nothing for a while and then other things than A. If B's frames after A are not those of B alone, A's session
reached B.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations, pairwise
from typing import Any

from pydantic import BaseModel, Field

from .. import codes
from ..limits import MIB

#: Below this share of its declared rate a model is too slow: viewers see it.
RATE_SHARE = 0.9
#: Bytes per session that count as a leak: allocators wander by less.
LEAK_BYTES = 1 * MIB
#: Sessions until a model has all its buffers.
WARM_SESSIONS = 3
#: Sessions that tell growth from a single step.
LEAST_SESSIONS = WARM_SESSIONS + 3
#: A stop that takes longer is felt by the next user, who waits for it.
PROMPT_STOP_S = 1.0
PROMPT_FRAME_S = 5.0


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    DOUBTFUL = "doubtful"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. `hint` says what to change."""

    name: str
    verdict: Verdict
    words: str
    hint: str = ""


class Answer(BaseModel):
    """What a command was answered with. `expected`: the arguments were valid."""

    command: str
    expected: bool
    code: str = ""
    message: str = ""


class Stop(BaseModel):
    """How long a session took to end after its stop; None: it did not within the limit."""

    moment: str
    seconds: float | None


class Measurements(BaseModel):
    """What one probe process found. Lists are empty where it did not get that far."""

    load_s: float = 0.0
    fps: float | None = None
    error: str = ""
    """What ended the probe: an error of the session, in words."""
    waits_for_command: bool = False
    """No frame comes before a command."""
    frames: list[str] = Field(default_factory=list)
    """Digests of B's frames."""
    changed: list[str] = Field(default_factory=list)
    """What A left behind, see `fingerprint`."""
    strays: list[str] = Field(default_factory=list)
    """Threads of A's session that still ran after it."""
    answers: list[Answer] = Field(default_factory=list)
    host_bytes: list[int] = Field(default_factory=list)
    """Resident after each session."""
    allocated_bytes: list[int] = Field(default_factory=list)
    """What malloc has handed out then; empty where it does not tell."""
    gpu_bytes: list[int] = Field(default_factory=list)
    """After each session; empty without a GPU."""
    stops: list[Stop] = Field(default_factory=list)
    first_frame_s: float | None = None
    rate: float | None = None
    others_share: float = 0.0
    """What other programs took of the processors while the rate was measured."""


@dataclass(frozen=True, slots=True)
class Evidence:
    alone: Measurements
    again: Measurements
    shared: Measurements
    stop_s: float = field(default=5.0)


def judge(evidence: Evidence) -> list[Finding]:
    """Return a finding for everything that the contract asks for."""
    shared = evidence.shared
    return [
        _loads(evidence),
        _answers_commands(shared.answers),
        _is_repeatable(evidence),
        _keeps_users_apart(evidence),
        _memory(
            "host memory",
            (shared.host_bytes, shared.allocated_bytes),
            _HOST_HINT,
            "the sessions did not get that far",
        ),
        _memory("GPU memory", (shared.gpu_bytes,), _GPU_HINT, "no CUDA device is in use"),
        _stops(shared.stops, evidence.stop_s),
        _is_fast_enough(shared),
        _starts(shared.first_frame_s),
    ]


def passed(findings: Sequence[Finding]) -> bool:
    return all(finding.verdict is not Verdict.FAILED for finding in findings)


def _loads(evidence: Evidence) -> Finding:
    name = "runs"
    for probe, who in ((evidence.alone, "alone"), (evidence.shared, "after others")):
        if probe.error:
            return Finding(name, Verdict.FAILED, f"{who}: {probe.error}", "the traceback is above")
    waits = "; shows nothing before its first command" if evidence.alone.waits_for_command else ""
    return Finding(name, Verdict.PASSED, f"loaded in {evidence.shared.load_s:.1f} s{waits}")


def _answers_commands(answers: Sequence[Answer]) -> Finding:
    name = "commands"
    if not answers:
        return Finding(name, Verdict.PASSED, "it has none")
    for each in answers:
        if each.code in (codes.INTERNAL_ERROR, codes.OUT_OF_MEMORY, codes.TIMEOUT):
            words = f"{each.command} failed with valid arguments ({each.code})"
            return Finding(
                name, Verdict.FAILED, words, "the traceback is above; raise CommandError to refuse"
            )
        if not each.expected and not each.code:
            return Finding(name, Verdict.FAILED, f"{each.command} accepted invalid arguments")
    sent = sum(each.expected for each in answers)
    refused = sorted({each.command for each in answers if each.expected and each.code})
    words = f"{sent} valid ones answered, {len(answers) - sent} invalid ones refused"
    if refused:
        words += f"; {', '.join(refused)} refused what the schema allows, which is its right"
    return Finding(name, Verdict.PASSED, words)


def _is_repeatable(evidence: Evidence) -> Finding:
    name = "repeatable"
    first, second = evidence.alone.frames, evidence.again.frames
    if not first or not second:
        return Finding(name, Verdict.UNKNOWN, "there are no frames to compare")
    if (place := _difference(first, second)) is None:
        return Finding(name, Verdict.PASSED, f"{len(first)} frames are the same in two fresh processes")
    return Finding(
        name,
        Verdict.FAILED,
        f"frame {place} differs between two fresh processes with the same seed and commands",
        "take random numbers from numpy.random.default_rng(get_ctx().seed) or the global generators, which the "
        "seed covers; no clocks, no hash() of text, no order of threads in a picture",
    )


def _keeps_users_apart(evidence: Evidence) -> Finding:
    name = "users apart"
    alone, after = evidence.alone.frames, evidence.shared.frames
    if strays := evidence.shared.strays:
        return Finding(
            name,
            Verdict.FAILED,
            f"the thread {strays[0]!r} of the first user's session still runs after it",
            "end it with the session (`while not ctx.should_stop()`, and join it in a finally), or hand it the "
            "context of each session",
        )
    if not alone or not after:
        return Finding(name, Verdict.UNKNOWN, "the second user's session did not get that far")
    if (place := _difference(alone, after)) is None:
        return Finding(name, Verdict.PASSED, f"{len(after)} frames of a second user are those of a first one")
    if _difference(alone, evidence.again.frames) is not None:
        return Finding(name, Verdict.UNKNOWN, "frames that do not repeat cannot tell a leak")
    kept = evidence.shared.changed
    hint = "forget it in reset(), which runs between two users"
    if kept:
        names = ", ".join(kept[:5]) + (f" and {len(kept) - 5} more" if len(kept) > 5 else "")
        hint = f"not as before the first user: {names}; {hint}"
        if any(" " in each for each in kept):
            hint += (
                "; what all sessions share (a class attribute, a default, a global) is copied, never changed"
            )
    words = f"a second user's frame {place} shows what the first one left behind"
    return Finding(name, Verdict.FAILED, words, hint)


def _difference(a: Sequence[str], b: Sequence[str]) -> int | None:
    """Return the number of the first frame that differs, counted from 1."""
    for place, (one, other) in enumerate(zip(a, b, strict=False), start=1):
        if one != other:
            return place
    return None if len(a) == len(b) else min(len(a), len(b)) + 1


def _memory(name: str, counts: Sequence[Sequence[int]], hint: str, why_not: str) -> Finding:
    """`counts`: of the same memory, each after each session; the first is the one that is told."""
    after = counts[0]
    if len(after) < LEAST_SESSIONS:
        return Finding(name, Verdict.UNKNOWN, why_not)
    growth = growth_per_session(*counts)
    if growth < LEAK_BYTES:
        return Finding(name, Verdict.PASSED, f"flat over {len(after)} sessions, at {after[-1] / MIB:.0f} MiB")
    words = f"grows by {growth / MIB:.1f} MiB per session, to {after[-1] / MIB:.0f} MiB after {len(after)}"
    return Finding(name, Verdict.FAILED, words, hint)


def growth_per_session(*counts: Sequence[int]) -> float:
    """Return by how much memory grows with a session, by the count of it that grows most; see `memory`.

    The first sessions do not count: a model has all its buffers after them. An empty count is left out.
    """
    return max(_steady(count[WARM_SESSIONS:]) for count in counts if count)


def _steady(after: Sequence[int]) -> float:
    """Return the slope, unless one step makes most of it: a leak comes again, what a library takes once does not."""
    slope, without = _slope(after), _slope(_levelled(after))
    return slope if slope <= 0 or without >= slope / 4 else max(0.0, without)


def _levelled(after: Sequence[int]) -> list[int]:
    """Return the same without its highest step."""
    height, place = max((b - a, place) for place, (a, b) in enumerate(pairwise(after), start=1))
    return [*after[:place], *(value - height for value in after[place:])]


def _slope(after: Sequence[int]) -> float:
    """Return the median of all pairwise slopes (Theil–Sen): one odd session does not count."""
    return statistics.median((b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(after), 2))


def _stops(stops: Sequence[Stop], limit_s: float) -> Finding:
    name = "stops"
    if not stops:
        return Finding(name, Verdict.UNKNOWN, "the sessions did not get that far")
    for stop in stops:
        if stop.seconds is None:
            words = f"stopped {stop.moment}, it went on for more than {limit_s:g} s, and would be killed"
            return Finding(name, Verdict.FAILED, words, _STOP_HINT)
    slowest = max(stops, key=lambda stop: stop.seconds or 0.0)
    assert slowest.seconds is not None
    words = f"within {slowest.seconds:.2f} s at {len(stops)} moments, slowest {slowest.moment}"
    verdict = Verdict.PASSED if slowest.seconds <= PROMPT_STOP_S else Verdict.DOUBTFUL
    return Finding(name, verdict, words, "" if verdict is Verdict.PASSED else _STOP_HINT)


def _is_fast_enough(shared: Measurements) -> Finding:
    name = "frame rate"
    rate, fps = shared.rate, shared.fps
    if rate is None:
        return Finding(name, Verdict.UNKNOWN, "the sessions did not get that far")
    if fps is None:
        return Finding(name, Verdict.PASSED, f"{rate:.1f} frames/s, and none are declared")
    words = f"{rate:.1f} frames/s, and {fps:g} are declared"
    if rate >= RATE_SHARE * fps:
        return Finding(name, Verdict.PASSED, words)
    if rate / max(1e-6, 1 - shared.others_share) >= RATE_SHARE * fps:
        words += f"; but other programs took {shared.others_share:.0%} of the processors meanwhile"
        return Finding(name, Verdict.DOUBTFUL, words, "check again on a quiet machine")
    return Finding(
        name,
        Verdict.FAILED,
        words,
        f"declare fps={max(1, int(rate))}, or none for the model's own rate; else smaller pictures or a faster machine",
    )


def _starts(first_frame_s: float | None) -> Finding:
    name = "first frame"
    if first_frame_s is None:
        return Finding(name, Verdict.UNKNOWN, "the sessions did not get that far")
    words = f"{first_frame_s:.2f} s after the start of a session"
    if first_frame_s <= PROMPT_FRAME_S:
        return Finding(name, Verdict.PASSED, words)
    return Finding(name, Verdict.DOUBTFUL, words, "compile and warm up in __init__, once for everybody")


def as_document(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "passed": passed(findings),
        "findings": [
            {"name": each.name, "verdict": str(each.verdict), "words": each.words, "hint": each.hint}
            for each in findings
        ],
    }


_HOST_HINT = "let nothing outlive a session in lists, caches or threads; drop it in reset()"
_GPU_HINT = (
    "drop the session's tensors in reset(): caches, lists of frames, graphs kept by a missing no_grad()"
)
_STOP_HINT = (
    "look at get_ctx().should_stop() in every loop, and do not swallow SessionStopped with "
    "`except BaseException` or a bare `except`"
)
