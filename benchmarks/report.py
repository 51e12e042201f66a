"""Results of several rounds merged, and shown as Markdown tables that the README can take as they are."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any


def merge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the rounds of one case: medians, with [min, max] of the rounds beside each p50 and each cost."""
    merged: dict[str, Any] = {}
    for key, value in rows[0].items():
        values = [row[key] for row in rows if key in row]
        if isinstance(value, dict):
            merged[key] = merge([each for each in values if each]) if any(values) else {}
        elif isinstance(value, int | float):
            merged[key] = round(median(values), 3)
            merged[f"{key}_range"] = [min(values), max(values)]
        else:
            merged[key] = values if len(set(values)) > 1 else value
    return merged


def tables(result: dict[str, Any]) -> str:
    return "\n\n".join(
        (_streams(result["streams"]), _starts(result["starts"]), _bare(result["bare_encoder"]))
    )


def _streams(streams: dict[str, Any]) -> str:
    return table(
        {
            "stream": lambda name, row: name,
            "emit→displayed p50 (range) · p95 ms": lambda name, row: _latency(row["latency_ms"]),
            "emit→decoded p50 · p95 ms": lambda name, row: _pair(row.get("decoded_ms"), "p50", "p95"),
            "command→displayed p50 · p95 ms": lambda name, row: _pair(
                row.get("command_shown_ms"), "p50", "p95"
            ),
            "command→handler p50 · p99 ms": lambda name, row: _pair(
                row.get("command_handled_ms"), "p50", "p99"
            ),
            "displayed · decoded fps": lambda name, row: _pair(row, "displayed_fps", "decoded_fps"),
            "longest freeze ms": lambda name, row: row["longest_freeze_ms"],
            "server · model CPU ms/frame": lambda name, row: _pair(
                row, "server_cpu_ms_per_frame", "model_cpu_ms_per_frame"
            ),
            "emit ms": lambda name, row: row["emit_ms"],
            "Mbit/s": lambda name, row: row["mbit_per_s"],
        },
        streams,
    )


def _starts(starts: dict[str, Any]) -> str:
    return table(
        {
            "start": lambda name, row: name,
            "connect→first frame p50 · max ms": lambda name, row: _pair(
                row["connect_to_first_frame_ms"], "p50", "max"
            ),
            "next user p50 · max ms": lambda name, row: _pair(row["next_user_ms"], "p50", "max"),
        },
        starts,
    )


def _bare(bare: dict[str, Any]) -> str:
    return table(
        {
            "bare encoder": lambda name, row: name,
            "convert · encode CPU ms/frame": lambda name, row: _pair(row, "convert_cpu_ms", "encode_cpu_ms"),
            "Mbit/s": lambda name, row: row["mbit_per_s"],
            "PSNR dB": lambda name, row: row["psnr_luma_db"],
        },
        bare,
    )


def table(columns: dict[str, Callable[[str, Any], object]], rows: dict[str, Any]) -> str:
    """Write a Markdown table: a column is a name and what it says of a row."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name, row in rows.items():
        lines.append(f"| {' | '.join(str(column(name, row)) for column in columns.values())} |")
    return "\n".join(lines)


def _pair(row: dict[str, Any] | None, first: str, second: str) -> str:
    return f"{row[first]} · {row[second]}" if row else "–"


def _latency(latency: dict[str, Any]) -> str:
    if not latency:
        return "–"
    low, high = latency["p50_range"]
    return f"{latency['p50']} ({low}–{high}) · {latency['p95']}"
