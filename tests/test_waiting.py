"""The simulation of the line: it agrees with theory where there is one, and its promises about people hold."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.line_play import Case, Play
from benchmarks.waiting import around, erlang_c, main, play

#: Four GPUs, busy half of the time, exponential lengths, nobody slow: what Erlang's formula is about.
THEORY = Case(gpus=4, per_hour=120, lengths="exponential", mean_s=60, claim_s=0.0, renew_s=0.0, people=6_000)


def test_erlang_s_formula_is_that_of_the_tables() -> None:
    # Kleinrock, Queueing Systems I: one server waits with the probability of being busy; two at one erlang: 1/3.
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)


@pytest.mark.slow
def test_the_waits_are_erlang_s_where_his_formula_holds() -> None:
    waits_s: list[float] = []
    for seed in range(4):
        waits_s += Play(replace(THEORY, seed=seed)).run().waits_s
    must_wait = erlang_c(THEORY.gpus, THEORY.load)
    assert np.mean(np.array(waits_s) > 0) == pytest.approx(must_wait, abs=0.02)
    mean_s = must_wait * THEORY.mean_s / (THEORY.gpus - THEORY.load)
    assert np.mean(waits_s) == pytest.approx(mean_s, rel=0.15)


def test_the_same_seed_plays_the_same_line() -> None:
    case = Case(gpus=4, per_hour=60, people=300)
    assert play(case) == play(case)
    assert play(case) != play(replace(case, seed=1))


def test_more_gpus_never_make_people_wait_longer() -> None:
    rows = [play(Case(gpus=gpus, per_hour=60, people=600)) for gpus in (5, 6, 8)]
    means = [row["wait_mean_s"] for row in rows]
    assert means == sorted(means, reverse=True)
    assert rows[0]["busy"] > rows[-1]["busy"]


def test_turns_end_only_because_somebody_waits() -> None:
    crowded, empty = (play(Case(gpus=gpus, per_hour=60, people=400, turn_s=120)) for gpus in (3, 60))
    assert crowded["turns_cut"] > 0.1
    assert empty["turns_cut"] == 0


def test_whoever_is_refused_leaves_or_does_not_claim_is_counted_once() -> None:
    outcome = Play(Case(gpus=3, per_hour=60, people=500, cap=8, patience_s=400, absent=0.2)).run()
    assert min(outcome.refused, outcome.impatient, outcome.unclaimed) > 0
    assert outcome.people == len(outcome.waits_s) + outcome.refused + outcome.impatient + outcome.unclaimed


@pytest.mark.parametrize("arrivals", ["even", "bursts"])
def test_people_come_as_they_are_said_to(arrivals: str) -> None:
    row = play(Case(gpus=12, per_hour=100, arrivals=arrivals, lengths="fixed", people=600))
    # Ten GPUs' work on twelve: who comes evenly never waits.
    assert (row["at_once"] == 1.0) == (arrivals == "even")
    assert row["busy"] == pytest.approx(10 / 12, rel=0.15)


def test_the_numbers_of_gpus_worth_a_look_are_around_the_work() -> None:
    assert around(40) == [36, 38, 40, 42, 44, 48, 52, 60]
    assert around(0.2) == [1]


def test_the_command_prints_a_table_and_writes_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, svg = tmp_path / "waiting.json", tmp_path / "waiting.svg"
    main(["--gpus", "3,4", "--per-hour", "30", "--people", "200", "--out", str(out), "--svg", str(svg)])
    told = capsys.readouterr().out
    assert "30 people an hour, 6 minutes each" in told
    written = json.loads(out.read_text())
    assert [row["gpus"] for row in written["rows"]] == [3, 4]
    assert all(f"| {row['gpus']} |" in told for row in written["rows"])
    drawn = ET.fromstring(svg.read_text())  # noqa: S314
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 3
