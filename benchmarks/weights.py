"""How fast weights arrive, verification included, beside the tools that people would otherwise take.

    python -m benchmarks.weights --mib 2048 --aws /path/to/aws --json benchmarks/results/weights.json

A folder of mixed sizes is published to a moto S3 server process and to a folder; then, in turns and into
empty folders, it is fetched by `Registry.pull` (SHA-256 of every file, fsync, atomic publication), by
`aws s3 sync` and by `cp -r`, which check and sync nothing. Whole processes are timed, start-up included.
Ratios count: every contender runs in the same round on the same machine.

The S3 server reads a whole object for every range that is asked of it, so it is the bottleneck of those rows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1024 * 1024

PULL = """
import json, os, sys, time
from pathlib import Path
from reactor_runtime.weights.cache import Cache
from reactor_runtime.weights.pull import Registry
from reactor_runtime.weights import fetch
def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1e3
registry = Registry(sys.argv[1], cache=Cache(Path(sys.argv[2])))
registry.store()
idle, began = status("VmRSS"), time.monotonic()
pulled = registry.pull("Bench@1.0.0")
print(json.dumps({
    "transfer_s": time.monotonic() - began,
    "received_bytes": pulled.received_bytes,
    "rss_above_idle_mb": status("VmHWM") - idle,
}))
"""


def make_folder(folder: Path, mib: int) -> int:
    """Write files of mixed sizes: half of it one file, the rest from checkpoints down to configurations."""
    sizes = {"model.safetensors": mib * MIB // 2, "text_encoder/model.safetensors": mib * MIB // 5}
    left = mib * MIB - sum(sizes.values())
    small = min(200, mib)
    sizes |= {f"small/{number:03}.json": 10_000 + number for number in range(small)}
    sizes |= {f"shards/{number}.safetensors": left // 8 for number in range(8)}
    dice = random.Random(1)
    block = dice.randbytes(16 * MIB)
    for number, (path, size) in enumerate(sizes.items()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            file.write(number.to_bytes(8, "little"))
            while (missing := size - file.tell()) > 0:
                file.write(block[:missing])
    return sum(sizes.values())


def start_s3() -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(
                    b"PUT /bench HTTP/1.1\r\nHost: s3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                connection.recv(1024)
            return server, f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the S3 server did not start")


def timed(command: list[str], environ: dict[str, str]) -> dict[str, float]:
    """Run a process and return its wall and CPU time, and what it says of itself."""
    # What earlier rounds wrote must not be written back at this one's expense.
    os.sync()
    before, began_s = os.times(), time.monotonic()
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    wall_s, after = time.monotonic() - began_s, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    said: dict[str, float] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return {"wall_s": wall_s, "cpu_s": cpu_s, **said}


def measure(source: Path, work: Path, rounds: int, aws: str) -> dict[str, list[dict[str, float]]]:
    from reactor_runtime.weights.publish import push
    from reactor_runtime.weights.store import open_store

    server, endpoint = start_s3()
    environ = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }
    registry = work / "registry"
    try:
        push(open_store("s3://bench/weights", environ=environ), "Bench@1.0.0", source)
        push(open_store(str(registry), for_writing=True), "Bench@1.0.0", source)
        target = work / "target"

        def pull(address: str) -> list[str]:
            return [sys.executable, "-c", PULL, address, str(target)]

        contenders: dict[str, list[str]] = {"S3: reactor": pull("s3://bench/weights")}
        if aws:
            contenders["S3: aws s3 sync"] = [
                aws, "s3", "sync", "--only-show-errors", "s3://bench/weights/Bench/1.0.0", str(target)
            ]  # fmt: skip
        contenders["folder: reactor"] = pull(str(registry))
        contenders["folder: cp -r"] = ["cp", "-r", str(registry / "Bench/1.0.0"), str(target)]
        verified = 'cp -r "$1" "$2" && find "$2" -type f -print0 | xargs -0 -P 2 -n 4 sha256sum > /dev/null'
        contenders["folder: cp, sha256sum"] = [
            "sh",
            "-c",
            verified,
            "sh",
            str(registry / "Bench/1.0.0"),
            str(target),
        ]
        results: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        order = list(contenders)
        for number in range(rounds):
            for name in order if number % 2 == 0 else reversed(order):
                run = timed(contenders[name], environ)
                results[name].append(run)
                print(
                    f"round {number + 1}/{rounds}  {name}  {run['wall_s']:.2f} s", file=sys.stderr, flush=True
                )
                shutil.rmtree(target)
        return results
    finally:
        server.kill()
        server.wait()


def summary(results: dict[str, list[dict[str, float]]], total_bytes: int) -> dict[str, Any]:
    def median(name: str, key: str) -> float | None:
        values = [run[key] for run in results.get(name, []) if key in run]
        return round(statistics.median(values), 3) if values else None

    def ratio(ours: str, theirs: str) -> float | None:
        mine, other = median(ours, "wall_s"), median(theirs, "wall_s")
        return round(other / mine, 2) if mine and other else None

    rows = {
        name: {
            "wall_s": median(name, "wall_s"),
            "mb_per_s": round(total_bytes / 1e6 / statistics.median(run["wall_s"] for run in runs), 1),
            "cpu_s": median(name, "cpu_s"),
            "rss_above_idle_mb": median(name, "rss_above_idle_mb"),
            "all_wall_s": [round(run["wall_s"], 3) for run in runs],
        }
        for name, runs in results.items()
    }
    return {
        "total_bytes": total_bytes,
        "cores": os.cpu_count(),
        "rows": rows,
        "speed_over_aws_s3_sync": ratio("S3: reactor", "S3: aws s3 sync"),
        "speed_over_cp": ratio("folder: reactor", "folder: cp -r"),
        "speed_over_cp_and_sha256sum": ratio("folder: reactor", "folder: cp, sha256sum"),
    }


def show(result: dict[str, Any], write: Callable[[str], object]) -> None:
    write(f"{result['total_bytes'] / 1e9:.2f} GB, medians of whole processes\n")
    write(f"{'':<22}{'seconds':>9}{'MB/s':>8}{'CPU s':>8}{'RSS above idle':>16}\n")
    for name, row in result["rows"].items():
        memory = f"{row['rss_above_idle_mb']:.0f} MB" if row["rss_above_idle_mb"] is not None else ""
        write(f"{name:<22}{row['wall_s']:>9.2f}{row['mb_per_s']:>8.0f}{row['cpu_s']:>8.2f}{memory:>16}\n")
    for key in ("speed_over_aws_s3_sync", "speed_over_cp", "speed_over_cp_and_sha256sum"):
        write(f"{key.replace('_', ' ')}: {result[key]}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--aws", default=shutil.which("aws") or "", help="the AWS CLI; left out without it")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", type=Path, help="a folder on the disk to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        source = Path(folder, "source")
        total = make_folder(source, arguments.mib)
        result = summary(measure(source, Path(folder), arguments.rounds, arguments.aws), total)
    show(result, sys.stdout.write)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
