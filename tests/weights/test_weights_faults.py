"""What the network and the store can do to a download, through a proxy that does it."""

from __future__ import annotations

import itertools
import logging
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from support.faulty_proxy import CLEAN, Fault, FaultyProxy

from reactor_runtime import limits
from reactor_runtime.errors import ReactorError, StoreRefused, StoreUnreachable, WeightsCorrupt
from reactor_runtime.weights.fetch import Stopped
from reactor_runtime.weights.store import Store
from reactor_runtime.weights.transfer import Transfer

from .conftest import (
    HASTY,
    MIB,
    PATIENT,
    MakeRegistry,
    leftovers,
    publish,
    same_content,
    times,
    write_files,
)

pytestmark = pytest.mark.slow

SIZES = {"model.safetensors": 6 * MIB + 1, "vae/decoder.pt": 3 * MIB, "config.json": 400}
TOTAL = sum(SIZES.values())


@pytest.fixture
def source(store: Store, tmp_path: Path) -> Path:
    """A folder that is published as LongLive@1.0.0."""
    folder = write_files(tmp_path / "source", SIZES)
    publish(store, "LongLive@1.0.0", folder)
    return folder


@pytest.mark.timeout(600)
def test_cut_connections_cost_less_than_five_percent_again(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(times(4, 100)):
        dice = random.Random(seed)
        cuts = [dice.randrange(MIB // 4, 3 * MIB) for _ in range(1000)]
        monkeypatch.setattr(limits, "WEIGHTS_PIECE_BYTES", dice.choice([MIB, 4 * MIB, 32 * MIB]))
        start = proxy.connections
        proxy.faults = lambda number, cuts=cuts, start=start: Fault(cut_after=cuts[number - start])  # type: ignore[misc]
        before = proxy.forwarded
        cache = tmp_path / f"cache{seed}"
        pulled = registry(cache=cache).pull("LongLive@1.0.0")
        assert same_content(source, pulled.path), seed
        assert proxy.forwarded - before <= TOTAL * 1.05, seed
        assert proxy.connections - start >= 3, seed
        assert not leftovers(cache)


def _stop_at(fraction: float, stop: threading.Event) -> list[Transfer]:
    class Seen(list[Transfer]):
        def append(self, progress: Transfer) -> None:
            super().append(progress)
            if progress.done_bytes >= fraction * TOTAL:
                stop.set()

    return Seen()


def _stop_half_way(registry: MakeRegistry, proxy: FaultyProxy) -> None:
    """Begin a download and stop it when about half has arrived."""
    stop = threading.Event()
    budget = itertools.count()
    proxy.faults = lambda number: Fault(stall_after=2 * MIB) if next(budget) >= 0 else CLEAN
    with pytest.raises(Stopped):
        registry().pull("LongLive", report=_stop_at(0.3, stop).append, stop=stop)
    proxy.always(CLEAN)


def test_a_stopped_download_goes_on_where_it_stopped(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry, tmp_path: Path
) -> None:
    _stop_half_way(registry, proxy)
    already = proxy.forwarded
    assert already > TOTAL * 0.3
    pulled = registry().pull("LongLive")
    assert same_content(source, pulled.path)
    assert pulled.received_bytes <= TOTAL * 0.75
    # What was on its way to each connection when it was stopped is sent again; here that is more than 5 %.
    assert proxy.forwarded <= TOTAL + limits.WEIGHTS_CONNECTIONS * 256 * 1024
    assert not leftovers(tmp_path / "cache")


def test_an_object_that_changed_before_the_resumption_is_begun_anew(
    proxy: FaultyProxy, registry: MakeRegistry, store: Store, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "source", SIZES)
    for path in SIZES:
        store.replace(f"LongLive/{path}", (folder / path).read_bytes())
    _stop_half_way(registry, proxy)
    other = write_files(tmp_path / "other", SIZES, seed=2)
    for path in SIZES:
        store.replace(f"LongLive/{path}", (other / path).read_bytes())
    assert same_content(other, registry().pull("LongLive").path)


def test_an_object_that_changes_while_it_arrives_is_begun_anew(
    proxy: FaultyProxy, registry: MakeRegistry, store: Store, tmp_path: Path
) -> None:
    folder, other = write_files(tmp_path / "a", SIZES), write_files(tmp_path / "b", SIZES, seed=2)
    for path in SIZES:
        store.replace(f"LongLive/{path}", (folder / path).read_bytes())
    replaced = threading.Event()

    def replace(number: int) -> Fault:
        # The first connections are cut; by the time their pieces are asked for again, everything is another.
        if proxy.forwarded > MIB and not replaced.is_set():
            for path in SIZES:
                store.replace(f"LongLive/{path}", (other / path).read_bytes())
            replaced.set()
        return CLEAN if replaced.is_set() else Fault(cut_after=MIB)

    proxy.faults = replace
    pulled = registry().pull("LongLive")
    assert replaced.is_set()
    assert (pulled.path / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def test_a_published_file_that_was_overwritten_is_never_taken(
    source: Path, registry: MakeRegistry, store: Store, tmp_path: Path
) -> None:
    store.replace("LongLive/1.0.0/vae/decoder.pt", bytes(SIZES["vae/decoder.pt"]))
    with pytest.raises(WeightsCorrupt, match=r"vae/decoder.pt.*damaged, also after") as raised:
        registry().pull("LongLive")
    assert raised.value.file == "vae/decoder.pt"
    assert len(raised.value.expected) == len(raised.value.actual) == 64
    store.replace("LongLive/1.0.0/vae/decoder.pt", b"short")
    with pytest.raises(WeightsCorrupt, match="has 5 bytes"):
        registry().pull("LongLive")
    store.replace("LongLive/1.0.0/vae/decoder.pt", (source / "vae/decoder.pt").read_bytes())
    assert same_content(source, registry().pull("LongLive").path)


def test_a_store_that_ignores_ranges_is_read_in_one_go(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WEIGHTS_PIECE_BYTES", MIB)
    proxy.always(Fault(ignore_range=True))
    assert same_content(source, registry().pull("LongLive").path)


def test_a_resumption_answered_with_everything_begins_the_file_anew(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry
) -> None:
    _stop_half_way(registry, proxy)
    proxy.always(Fault(ignore_range=True))
    assert same_content(source, registry().pull("LongLive").path)


def test_a_store_that_ignores_ranges_and_is_cut_again_and_again_is_given_up(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry
) -> None:
    proxy.always(Fault(ignore_range=True, cut_after=MIB, only=r"model\.safetensors"))
    with pytest.raises(StoreUnreachable, match="could not be fetched in one go"):
        registry().pull("LongLive")


def test_a_flipped_bit_is_noticed_and_the_file_fetched_again(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry, tmp_path: Path
) -> None:
    for seed in range(times(3, 100)):
        cache = tmp_path / f"cache{seed}"
        proxy.flips_left = 1
        at = random.Random(seed).randrange(2000, SIZES["model.safetensors"])
        proxy.always(Fault(flip_at=at, only=r"model\.safetensors"))
        pulled = registry(cache=cache).pull("LongLive")
        assert same_content(source, pulled.path), seed
        assert proxy.flips_left == 0, seed
        assert [path.name for path in (cache / "quarantine").iterdir()] == [
            "LongLive+11@1.0.0@model.safetensors"
        ]


def test_a_file_that_arrives_damaged_twice_is_an_error_with_both_digests(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry, tmp_path: Path
) -> None:
    proxy.always(Fault(flip_at=MIB, only=r"model\.safetensors"))
    with pytest.raises(WeightsCorrupt) as raised:
        registry().pull("LongLive")
    assert raised.value.file == "model.safetensors"
    assert raised.value.expected in str(raised.value)
    assert raised.value.actual in str(raised.value)
    assert not (tmp_path / "cache" / "weights").exists()
    assert [path.name for path in (tmp_path / "cache" / "quarantine").iterdir()] == [
        "LongLive+11@1.0.0@model.safetensors"
    ]


def test_a_damaged_plain_file_is_noticed_by_its_etag(
    proxy: FaultyProxy, registry: MakeRegistry, store: Store, tmp_path: Path
) -> None:
    store.replace("LongLive/model.pt", write_files(tmp_path / "s", {"m": 100_000}).joinpath("m").read_bytes())
    flips = [True, False]
    proxy.faults = lambda number: (
        Fault(flip_at=50_000 + 7 * number, only=r"GET .*model\.pt") if flips else CLEAN
    )
    with pytest.raises(WeightsCorrupt):
        registry(patience=HASTY).pull("LongLive")
    proxy.always(CLEAN)
    assert registry().pull("LongLive").total_bytes == 100_000


OUTAGES = {
    "refused": (Fault(refuse=True), "connection"),
    "503": (Fault(status=503), "status 503"),
    "SlowDown": (Fault(status=503, body=b"<Error><Code>SlowDown</Code></Error>"), "SlowDown"),
    "500": (Fault(status=500), "status 500"),
    "stall before": (Fault(stall_after=0), "did not answer in time|connection"),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_is_waited_for_and_then_reported(
    name: str, source: Path, proxy: FaultyProxy, registry: MakeRegistry
) -> None:
    fault, words = OUTAGES[name]
    proxy.always(fault)
    began_s = time.monotonic()
    with pytest.raises(StoreUnreachable, match=words):
        registry(patience=HASTY).pull("LongLive")
    assert 1 <= time.monotonic() - began_s < 5
    assert len(proxy.requests) + proxy.connections > 3


def test_a_name_that_no_server_has_is_an_outage(registry: MakeRegistry) -> None:
    one = registry(patience=HASTY, AWS_ENDPOINT_URL="http://store.invalid:9")
    with pytest.raises(StoreUnreachable, match=r"REACTOR_REGISTRY"):
        one.pull("LongLive")


@pytest.mark.parametrize(
    "fault", [Fault(stall_after=MIB), Fault(trickle=True, only=r"model")], ids=["stall", "trickle"]
)
def test_a_silent_connection_is_replaced(
    fault: Fault, source: Path, proxy: FaultyProxy, registry: MakeRegistry
) -> None:
    spoilt = [True]
    proxy.faults = lambda number: fault if number <= 6 and spoilt else CLEAN
    began_s = time.monotonic()
    assert same_content(source, registry(patience=PATIENT).pull("LongLive").path)
    assert PATIENT.stall_s * 0.9 <= time.monotonic() - began_s < 4 * PATIENT.stall_s


def test_a_stall_is_noticed_within_fifteen_seconds() -> None:
    assert limits.WEIGHTS_STALL_S + limits.WEIGHTS_CONNECT_S <= 15


def _said(code: str, status: int = 403) -> Fault:
    # A real refusal quotes the request: none of it may be shown.
    body = (
        f"<Error><Code>{code}</Code><AWSAccessKeyId>AKIDTESTKEY</AWSAccessKeyId><StringToSign>verysecretvalue"
    )
    return Fault(status=status, body=f"{body}</StringToSign></Error>".encode())


REFUSALS = {
    "expired": (_said("ExpiredToken", 400), "expired", "AWS_SESSION_TOKEN"),
    "unknown key": (_said("InvalidAccessKeyId"), "credentials are wrong", "AWS_ACCESS_KEY_ID"),
    "wrong secret": (_said("SignatureDoesNotMatch"), "credentials are wrong", "AWS_ACCESS_KEY_ID"),
    "denied": (_said("AccessDenied"), "may not do this", "AWS_ACCESS_KEY_ID"),
    "bare 403": (Fault(status=403), "may not do this", "AWS_ACCESS_KEY_ID"),
    "bucket": (_said("NoSuchBucket", 404), "no such bucket", "REACTOR_REGISTRY"),
    "region": (_said("PermanentRedirect", 301), "another region", "AWS_REGION"),
    "clock": (_said("RequestTimeTooSkewed"), "clock is wrong", "clock"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_one_clear_error_without_a_secret_and_is_not_retried(
    name: str, proxy: FaultyProxy, registry: MakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fault, words, setting = REFUSALS[name]
    proxy.always(fault)
    with pytest.raises(StoreRefused, match=words) as raised:
        registry().pull("LongLive@1.0.0")
    assert raised.value.setting == setting
    assert setting in str(raised.value) or setting == "clock"
    assert len(proxy.requests) == 1
    chain: BaseException | None = raised.value
    while chain is not None:
        assert "verysecretvalue" not in str(chain)
        assert "AKIDTESTKEY" not in str(chain)
        chain = None if chain.__suppress_context__ else chain.__context__
    assert "verysecretvalue" not in caplog.text
    assert "bucket" not in raised.value.public()


def test_a_bucket_that_does_not_exist_names_the_setting(proxy: FaultyProxy, registry: MakeRegistry) -> None:
    with pytest.raises(StoreRefused, match="no such bucket") as raised:
        registry(address="s3://nosuchbucket/weights").pull("LongLive")
    assert raised.value.setting == "REACTOR_REGISTRY"


def test_missing_credentials_name_the_setting(
    registry: MakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        # Where a cloud machine would find its credentials, on a machine that is none.
        monkeypatch.setenv(
            "AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}/latest/api/169.254.169.254"
        )
        one = registry(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        with pytest.raises(StoreRefused, match="no credentials were given") as raised:
            one.pull("LongLive")
    assert raised.value.setting == "AWS_ACCESS_KEY_ID"


def test_with_everything_cached_a_start_needs_no_store(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry
) -> None:
    path = registry().pull("LongLive").path
    for fault in (Fault(refuse=True), Fault(stall_after=0), Fault(status=503), REFUSALS["expired"][0]):
        proxy.always(fault)
        one = registry()
        began_s = time.monotonic()
        # Two names, as in a manifest: the silence is waited for once.
        first, second = one.pull("LongLive"), one.pull("LongLive")
        assert time.monotonic() - began_s <= 1
        assert first.path == second.path == path
        assert "from the cache" in first.note
    before = len(proxy.requests)
    assert registry().pull("LongLive@1.0.0").note == ""
    assert len(proxy.requests) == before


def test_everything_that_can_go_wrong_is_one_of_our_errors(
    source: Path, proxy: FaultyProxy, registry: MakeRegistry
) -> None:
    for status in (400, 404, 405, 409, 416, 418, 429, 501):
        proxy.always(Fault(status=status, body=b"<html>not S3</html>"))
        with pytest.raises(ReactorError):
            registry(patience=HASTY).pull("LongLive@1.0.0")
