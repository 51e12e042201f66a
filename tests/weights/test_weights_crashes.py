"""Processes that die, wait for each other or have no disk left: the cache holds the old or the new, never half."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.faulty_proxy import CLEAN, Fault, FaultyProxy

from reactor_runtime import limits
from reactor_runtime.weights.cache import Cache
from reactor_runtime.weights.pull import Registry
from reactor_runtime.weights.store import Store

from .conftest import MIB, aws, leftovers, publish, publish_writable, same_content, times, write_files
from .processes import context, pull_once

pytestmark = [pytest.mark.slow, pytest.mark.keeps_resources]

OLD = {"model.pt": 200_000}
NEW = {
    "model.safetensors": 5 * MIB + 3,
    "vae/decoder.pt": 2 * MIB,
    **{f"shard/{i}.bin": 50_000 + i for i in range(20)},
}


@pytest.mark.timeout(900)
def test_a_download_killed_at_any_moment_leaves_the_old_or_the_new(
    folder_store: Store, tmp_path: Path
) -> None:
    old, new = write_files(tmp_path / "old", OLD), write_files(tmp_path / "new", NEW, seed=2)
    publish_writable(folder_store, "LongLive@1.0.0", old)
    publish_writable(folder_store, "LongLive@2.0.0", new)
    cache = Cache(tmp_path / "cache")
    forks, dice = context(), random.Random(4)

    def start(reference: str) -> Any:
        process = forks.Process(
            target=pull_once, args=(folder_store.address, cache.paths.root, reference, {}, None)
        )
        process.start()
        return process

    start("LongLive@1.0.0").join()
    began_s = time.monotonic()
    start("LongLive@2.0.0").join()
    usual_s = time.monotonic() - began_s
    kills = unfinished = 0
    for round_number in range(times(15, 200)):
        for kept in list(cache.kept()):
            if kept.version == "2.0.0":
                assert cache.remove(kept)
        process = start("LongLive@2.0.0")
        time.sleep(dice.uniform(0, usual_s))
        process.kill()
        process.join()
        kills += process.exitcode != 0
        published = {kept.version for kept in cache.kept()}
        unfinished += "2.0.0" not in published
        assert "1.0.0" in published, round_number
        for version in published:
            found = cache.audit("LongLive", version)
            assert found is not None, round_number
            assert not found.damaged, round_number
            assert same_content(old if version == "1.0.0" else new, found.path), round_number
    assert kills > 0
    assert unfinished > 0
    one = Registry(folder_store.address, cache=cache)
    assert same_content(new, one.pull("LongLive").path)
    one.close()
    assert not leftovers(cache.paths.root)


@pytest.mark.timeout(900)
def test_many_downloaders_at_once_download_once_also_when_the_first_is_killed(
    store: Store, proxy: FaultyProxy, tmp_path: Path
) -> None:
    source = write_files(tmp_path / "source", NEW)
    publish(store, "LongLive@1.0.0", source)
    total = sum(NEW.values())
    forks = context()
    address = store.address
    for round_number in range(times(2, 50)):
        cache = Cache(tmp_path / f"cache{round_number}")
        started = {}
        for _ in range(4):
            ours, theirs = forks.Pipe(duplex=False)
            process = forks.Process(
                target=pull_once, args=(address, cache.paths.root, "LongLive@1.0.0", aws(proxy.port), theirs)
            )
            process.start()
            theirs.close()
            started[ours] = process
        # The first one cannot finish before it is killed.
        proxy.always(Fault(stall_after=MIB))
        kill_at = total * random.Random(round_number).uniform(0.02, 0.25)
        killed = None
        costs = []
        open_ends = set(started)
        while open_ends:
            for ours in [end for end in open_ends if end.poll(0.01)]:
                try:
                    kind, amount = ours.recv()
                except EOFError:
                    open_ends.discard(ours)
                    continue
                if kind == "done":
                    costs.append(amount)
                elif amount >= kill_at and killed is None:
                    killed = amount
                    started[ours].kill()
                    proxy.always(CLEAN)
            found = cache.find("LongLive", "1.0.0")
            if found is not None:
                assert not found.damaged, round_number
                assert same_content(source, found.path), round_number
        for ours, process in started.items():
            process.join()
            ours.close()
        assert killed is not None, round_number
        # One goes on where the dead one was, but for what each connection had not noted; the rest find it done.
        assert sorted(costs)[:-1] == [0, 0], round_number
        assert max(costs) <= total - killed + limits.WEIGHTS_CONNECTIONS * 256 * 1024, round_number
        assert not leftovers(cache.paths.root), round_number


def test_readers_of_many_processes_find_what_one_downloaded(
    store: Store, proxy: FaultyProxy, tmp_path: Path
) -> None:
    publish(store, "LongLive@1.0.0", write_files(tmp_path / "source", NEW))
    forks = context()
    costs = []
    ends = []
    for _ in range(4):
        ours, theirs = forks.Pipe(duplex=False)
        args = (store.address, tmp_path / "cache", "LongLive@1.0.0", aws(proxy.port), theirs)
        process = forks.Process(target=pull_once, args=args)
        process.start()
        theirs.close()
        ends.append((process, ours))
    for process, ours in ends:
        with contextlib.suppress(EOFError):
            while True:
                kind, amount = ours.recv()
                if kind == "done":
                    costs.append(amount)
        process.join()
        ours.close()
    assert sorted(costs) == [0, 0, 0, sum(NEW.values())]


def _failing(function: Callable[..., Any], number: int, calls: list[int]) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            raise OSError(errno.EIO, "the disk does not want to")
        return function(*args, **kwargs)

    return fail


@pytest.mark.parametrize("name", ["fsync", "rename", "replace", "pwrite", "fchmod", "ftruncate"])
def test_whatever_call_to_the_disk_fails_the_cache_stays_right(
    name: str, folder_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (
        write_files(tmp_path / "old", OLD),
        write_files(tmp_path / "new", {"a": 90_000, "b/c": 5_000}, seed=2),
    )
    publish_writable(folder_store, "LongLive@1.0.0", old)
    publish_writable(folder_store, "LongLive@2.0.0", new)
    failed = 0
    for number in range(1, 100):
        cache = Cache(tmp_path / f"cache{number}")
        one = Registry(folder_store.address, cache=cache)
        one.pull("LongLive@1.0.0")
        calls: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr(os, name, _failing(getattr(os, name), number, calls))
            with contextlib.suppress(OSError):
                one.pull("LongLive")
        failed += len(calls) >= number
        for kept in cache.kept():
            found = cache.audit(kept.name, kept.version)
            assert found is not None
            assert not found.damaged
        assert same_content(old, one.pull("LongLive@1.0.0").path)
        assert same_content(new, one.pull("LongLive").path)
        one.close()
        assert not leftovers(cache.paths.root), number
        if len(calls) < number:
            break
    assert failed > 0


DISK_FULL = """
import json, os, sys
from pathlib import Path
from reactor_runtime.errors import DiskFull
from reactor_runtime import limits
from reactor_runtime.weights.cache import Cache
from reactor_runtime.weights.pull import Registry

address, root = sys.argv[1:]
cache = Cache(Path(root))
registry = Registry(address, cache=cache)
small = registry.pull("Small@1.0.0").path
before = cache.free_bytes()
said = {}
try:
    registry.pull("Large@1.0.0")
except DiskFull as error:
    said["asked"] = [error.needed_bytes, error.free_bytes, str(error)]
said["back_1"] = before - cache.free_bytes()
cache.require_space = lambda needed: None
try:
    registry.pull("Large@1.0.0")
except DiskFull as error:
    said["met"] = [error.needed_bytes, error.free_bytes, str(error)]
said["back_2"] = before - cache.free_bytes()
said["left"] = [str(path) for path in cache.paths.partials.iterdir()]
said["old"] = not cache.audit("Small", "1.0.0").damaged
print(json.dumps(said))
"""


def _in_namespace(*flags: str, prepare: str, args: list[str], code: str) -> str:
    """Run Python in a namespace of its own, after `prepare`. Skips where that is not allowed."""
    wrap = ["unshare", "--user", "--map-root-user", *flags, "sh", "-c"]
    if subprocess.run([*wrap, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine allows no namespaces")
    script = f'{prepare} && exec "$@"'
    command = [*wrap, script, "sh", sys.executable, "-c", code, *args]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_is_said_with_needed_and_free_and_nothing_is_lost(
    folder_store: Store, tmp_path: Path
) -> None:
    publish(folder_store, "Small@1.0.0", write_files(tmp_path / "small", {"a": MIB // 4}))
    publish(folder_store, "Large@1.0.0", write_files(tmp_path / "large", {"a": MIB, "b": MIB}))
    disk = tmp_path / "disk"
    disk.mkdir()
    said = json.loads(
        _in_namespace(
            "--mount",
            prepare=f"mount -t tmpfs -o size=1m tmpfs {disk}",
            args=[folder_store.address, str(disk)],
            code=DISK_FULL,
        )
    )
    needed, free, text = said["asked"]
    assert needed == int(2 * MIB * 1.05)
    assert 0 < free < MIB
    assert "2.2 MB needed" in text
    assert "REACTOR_CACHE" in text
    assert said["met"][0] == 2 * MIB
    assert said["back_1"] <= 16384
    assert said["back_2"] <= 16384
    assert said["left"] == []
    assert said["old"] is True


OFFLINE = """
import os, sys, time
from pathlib import Path
from reactor_runtime import limits
from reactor_runtime.weights.cache import Cache
from reactor_runtime.weights.pull import Registry

began = time.monotonic()
registry = Registry(sys.argv[1], cache=Cache(Path(sys.argv[2])))
first = registry.pull("LongLive"), registry.pull("LongLive")
print(time.monotonic() - began, "from the cache" in first[0].note)
"""


def test_an_offline_start_in_an_empty_network_adds_less_than_a_second(
    store: Store, s3_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, "LongLive@1.0.0", write_files(tmp_path / "source", OLD))
    one = Registry(store.address, cache=Cache(tmp_path / "cache"), environ=aws(s3_port))
    one.pull("LongLive")
    one.close()
    for name, value in aws(s3_port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.com")
    said = _in_namespace(
        "--net", prepare="true", args=[store.address, str(tmp_path / "cache")], code=OFFLINE
    ).split()
    assert float(said[0]) <= 1.0
    assert said[1] == "True"
