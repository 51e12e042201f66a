"""Summaries of a list of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def describe(values: Sequence[float]) -> dict[str, float]:
    """Return count, p50, p95, p99, min and max, in the values' own unit; {} for no values."""
    if not values:
        return {}
    row = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {
        "n": len(values),
        **{name: round(percentile(values, share), 2) for name, share in row.items()},
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def longest_gap(moments: Sequence[float]) -> float:
    return max((b - a for a, b in pairwise(moments)), default=0.0)
