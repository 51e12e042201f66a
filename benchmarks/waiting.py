"""How long people wait for a turn, against GPUs: `python -m benchmarks.waiting`, a table, JSON and a plot out.

    python -m benchmarks.waiting                                          400 people an hour, six minutes each
    python -m benchmarks.waiting --per-hour 1200 --mean-s 300 --turn-s 120
    python -m benchmarks.waiting --arrivals bursts --lengths exponential --gpus 38,40,44
    python -m benchmarks.waiting --svg docs/images/waiting.svg --out waiting.json

It plays a server's own line, turns and estimate (`session/line.py`, `turns.py`, `estimate.py`) in virtual time: people
come, wait, claim their seat after a moment, drive, and go, or lose patience before. Nothing is measured, so the same
seed gives the same table on every machine. With exponential lengths it is checked against Erlang's formula.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from .line_play import ARRIVALS, LENGTHS, Case, Play
from .plot import Curve, chart
from .report import table


def play(case: Case) -> dict[str, Any]:
    """Play a case and return its row."""
    outcome = Play(case).run()
    waits_s = np.array(outcome.waits_s or [math.nan])
    p50, p90, p99 = (round(float(each), 1) for each in np.percentile(waits_s, (50, 90, 99)))
    told = outcome.told

    def share(count: int) -> float:
        return round(count / max(1, outcome.people), 4)

    def within(limits_s: list[float]) -> float | None:
        kept = sum(waited_s <= limit_s for limit_s, (_, waited_s) in zip(limits_s, told, strict=True))
        return round(kept / len(told), 2) if told else None

    return {
        "gpus": case.gpus,
        "load_per_gpu": round(case.load / case.gpus, 3),
        "busy": round(outcome.busy_s / (outcome.lasted_s * case.gpus), 3),
        "at_once": round(float((waits_s < 1).mean()), 3),
        "wait_mean_s": round(float(waits_s.mean()), 1),
        "wait_p50_s": p50,
        "wait_p90_s": p90,
        "wait_p99_s": p99,
        "refused": share(outcome.refused),
        "impatient": share(outcome.impatient),
        "unclaimed": share(outcome.unclaimed),
        "turns_cut": share(outcome.cut),
        "within_told_p50": within([wait.p50_s for wait, _ in told]),
        "within_told_p90": within([wait.p90_s for wait, _ in told]),
        "told": len(told),
    }


def erlang_c(gpus: int, load: float) -> float:
    """Return the probability of having to wait, with Poisson arrivals and exponential lengths (Erlang 1917)."""
    blocked = 1.0
    for servers in range(1, gpus + 1):
        blocked = load * blocked / (servers + load * blocked)
    return gpus * blocked / (gpus - load * (1 - blocked))


def around(load: float) -> list[int]:
    """Return the numbers of GPUs that are worth looking at: from too few to nobody waits."""
    return sorted({max(1, round(load * share)) for share in (0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3, 1.5)})


def document(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""

    def wait(name: str) -> Callable[[str, Any], str]:
        return lambda _, row: _words(row[name])

    def percent(*names: str) -> Callable[[str, Any], str]:
        return lambda _, row: " · ".join("–" if row[name] is None else f"{row[name]:.0%}" for name in names)

    columns: dict[str, Callable[[str, Any], object]] = {
        "GPUs": lambda _, row: row["gpus"],
        "busy": percent("busy"),
        "at once": percent("at_once"),
        "wait p50": wait("wait_p50_s"),
        "p90": wait("wait_p90_s"),
        "p99": wait("wait_p99_s"),
        "refused": percent("refused"),
        "left before": percent("impatient"),
        "turns cut short": percent("turns_cut"),
        "within the told p50 · p90": percent("within_told_p50", "within_told_p90"),
    }
    return table(columns, {str(row["gpus"]): row for row in rows})


def _words(wait_s: float) -> str:
    if math.isnan(wait_s):
        return "–"
    return f"{wait_s:.0f} s" if wait_s < 120 else f"{wait_s / 60:.0f} min"


def picture(rows: list[dict[str, Any]], title: str) -> str:
    """Return the waits against GPUs as SVG."""
    curves = [
        Curve(name, [(row["gpus"], max(row[key], 0.5)) for row in rows if not math.isnan(row[key])])
        for name, key in (
            ("half wait less", "wait_p50_s"),
            ("nine of ten", "wait_p90_s"),
            ("99 of 100", "wait_p99_s"),
        )
    ]
    ticks: dict[float, str] = {1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h"}
    return chart(curves, title=title, x="GPUs", y="wait", ticks=ticks)


def main(arguments: list[str] | None = None) -> None:
    standard = Case()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--gpus", default="", help="numbers with commas between; else around what is asked for"
    )
    parser.add_argument("--per-hour", type=float, default=standard.per_hour, help="how many come")
    parser.add_argument("--arrivals", choices=ARRIVALS, default=standard.arrivals)
    parser.add_argument(
        "--lengths", choices=LENGTHS, default=standard.lengths, help="how long people would like to drive"
    )
    parser.add_argument("--mean-s", type=float, default=standard.mean_s)
    parser.add_argument("--sigma", type=float, default=standard.sigma, help="of the logarithm of lengths")
    parser.add_argument(
        "--turn-s", type=float, default=None, help="as of `reactor run`; else a turn has no end"
    )
    parser.add_argument("--line", type=int, default=standard.cap, help="how many may wait")
    parser.add_argument(
        "--patience-s", type=float, default=None, help="how long people wait at most, on average"
    )
    parser.add_argument("--claim-s", type=float, default=standard.claim_s)
    parser.add_argument("--absent", type=float, default=standard.absent, help="share that never claims")
    parser.add_argument("--people", type=int, default=standard.people)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the JSON; else it follows the table")
    parser.add_argument("--svg", type=Path, help="file for a plot")
    chosen = parser.parse_args(arguments)
    case = replace(
        standard,
        per_hour=chosen.per_hour,
        arrivals=chosen.arrivals,
        lengths=chosen.lengths,
        mean_s=chosen.mean_s,
        sigma=chosen.sigma,
        turn_s=chosen.turn_s,
        cap=chosen.line,
        patience_s=chosen.patience_s,
        claim_s=chosen.claim_s,
        absent=chosen.absent,
        people=chosen.people,
        seed=chosen.seed,
    )
    counts = [int(each) for each in chosen.gpus.split(",")] if chosen.gpus else around(case.load)
    rows = [play(replace(case, gpus=gpus)) for gpus in counts]
    who = f"{case.per_hour:g} people an hour, {case.mean_s / 60:g} minutes each ({case.lengths})"
    title = f"{who}: {case.load:.0f} GPUs' work"
    print(f"{title}\n\n{document(rows)}\n")
    text = json.dumps({"case": asdict(case), "rows": rows}, indent=1)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    else:
        print(text)
    if chosen.svg:
        chosen.svg.write_text(picture(rows, title))


if __name__ == "__main__":
    main()
