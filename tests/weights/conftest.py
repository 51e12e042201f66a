"""A real S3 server process, a proxy that spoils what it sends, and folders to publish."""

from __future__ import annotations

import gc
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.faulty_proxy import FaultyProxy

from reactor_runtime.weights import resolve
from reactor_runtime.weights.cache import Cache
from reactor_runtime.weights.patience import Patience
from reactor_runtime.weights.publish import push
from reactor_runtime.weights.pull import Registry
from reactor_runtime.weights.store import Store, open_store

MIB = 1024 * 1024
#: REACTOR_FULL_TESTS=1 runs the counts of the promises; without it each change pays for a few of each.
FULL = os.environ.get("REACTOR_FULL_TESTS") == "1"
PATIENT = Patience(connect_s=2, stall_s=2, give_up_s=20, backoff_first_s=0.01, backoff_max_s=0.1)
HASTY = Patience(connect_s=1, stall_s=0.5, give_up_s=1, backoff_first_s=0.01, backoff_max_s=0.05)


def times(per_change: int, full: int) -> int:
    return full if FULL else per_change


@pytest.fixture(autouse=True)
def knows_no_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have loaded a model, whose folder, weights and registry are remembered."""
    resolve.release()
    monkeypatch.setattr(resolve, "_script", resolve.Outlook())


@pytest.fixture(autouse=True)
def leaves_nothing_behind(tmp_path: Path) -> Iterator[None]:
    """Fail a test that leaves a download thread or an open file of its own folder.

    The package's own check would count the S3 server, and the connections that the storage library keeps.
    """
    yield
    deadline_s = time.monotonic() + 5
    while (left := _left(tmp_path)) and time.monotonic() < deadline_s:
        # A failed read lives in the traceback of its error until that cycle is collected.
        gc.collect()
        time.sleep(0.01)
    if left:
        pytest.fail("left over: " + ", ".join(left))


def _left(folder: Path) -> list[str]:
    left = [
        thread.name for thread in threading.enumerate() if thread.name.startswith(("weights-", "faulty-"))
    ]
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith(str(folder)):
            left.append(target)
    return left


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
    yield port
    server.kill()
    server.wait()


@pytest.fixture
def proxy(s3_port: int) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3_port) as proxy:
        yield proxy


def aws(port: int, **more: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "AKIDTESTKEY",
        "AWS_SECRET_ACCESS_KEY": "verysecretvalue",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "HOME": "/nonexistent",
        **more,
    }


@pytest.fixture
def bucket(s3_port: int) -> str:
    """Make a bucket of its own for one test and return its name."""
    name = f"b{random.getrandbits(60):015x}"
    with socket.create_connection(("127.0.0.1", s3_port), 10) as connection:
        connection.sendall(
            f"PUT /{name} HTTP/1.1\r\nHost: s3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        assert b" 200 " in connection.recv(4096).split(b"\r\n", 1)[0]
    return name


@pytest.fixture
def store(s3_port: int, bucket: str) -> Store:
    """The S3 server itself, not through the proxy."""
    return open_store(f"s3://{bucket}/weights", environ=aws(s3_port), patience=PATIENT)


@pytest.fixture
def folder_store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "registry"), for_writing=True)


MakeRegistry = Callable[..., Registry]


@pytest.fixture
def registry(proxy: FaultyProxy, bucket: str, tmp_path: Path) -> Iterator[MakeRegistry]:
    """Make registries that reach the bucket through the proxy; by default with the cache `tmp_path/cache`."""
    made: list[Registry] = []

    def make(
        *, cache: Path | None = None, patience: Patience = PATIENT, address: str = "", **environ: str
    ) -> Registry:
        one = Registry(
            address or f"s3://{bucket}/weights",
            cache=Cache(cache or tmp_path / "cache"),
            patience=patience,
            environ=aws(proxy.port, **environ),
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def write_files(folder: Path, sizes: dict[str, int], *, seed: int = 1) -> Path:
    dice = random.Random(seed)
    for path, size in sizes.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(dice.randbytes(size))
    return folder


def publish(store: Store, reference: str, folder: Path) -> None:
    push(store, reference, folder)


def publish_writable(store: Store, reference: str, folder: Path) -> None:
    """Publish into a folder as if on another disk: files that anyone may write to are copied and not shared."""
    push(store, reference, folder)
    for path in Path(store.address).rglob("*"):
        if path.is_file():
            path.chmod(0o644)


def same_content(folder: Path, other: Path) -> bool:
    """Tell whether `other` (a version in a cache) has exactly the files of `folder`, besides its receipt."""
    mine = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    theirs = {path.relative_to(other): path.read_bytes() for path in other.rglob("*") if path.is_file()}
    theirs.pop(Path("reactor-weights.json"), None)
    return mine == theirs


def leftovers(cache: Path) -> list[Path]:
    """Return what an interrupted download or publication left in a cache."""
    partial = cache / "partial"
    return [*(partial.iterdir() if partial.is_dir() else []), *(cache / "weights").rglob("*.tmp")]
