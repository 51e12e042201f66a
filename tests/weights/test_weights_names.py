"""Names, versions, paths and numbers: everything pure about weights."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor_runtime.errors import WeightsCorrupt, WeightsMissing
from reactor_runtime.weights import index, names
from reactor_runtime.weights.index import FileEntry, Index, Latest, Receipt
from reactor_runtime.weights.names import CachePaths
from reactor_runtime.weights.patience import Patience, Trickle
from reactor_runtime.weights.ranges import Ranges
from reactor_runtime.weights.transfer import Rate, Transfer, duration, size

from .conftest import times

PAGE = ("LongLive", "Wan2_1_VAE", "YourModel-Weights", "Matrix-Game-2_0-base")
ATTACKS = (
    "..", "../x", "a/../../b", "/etc/passwd", "~root", "a/b", "a\\b", "..\\x", "C:x", "C:\\x",
    "\\\\host\\share",
    "a\x00b", "a\nb", "%2e%2e%2f", "a..b", "‥/x", "．．/x",
    "con", "NUL.txt", "lpt1", ".hidden", "a.", "-a", "a ",
    " a", "a%00", "a?b", "a*b", "file://x", "", "a", "x" * 65, "ＬｏｎｇＬｉｖｅ", "Ⅸxx", "a@b",
    "@1.0", "ab@", "ab@../1",
    "ab@1/2", "ab@latest", "ab@1.0@2.0", "ab@" + "1." * 40 + "0",
)  # fmt: skip
ROOT = Path("/root-of-the-cache")


def _below(path: Path, root: Path) -> bool:
    return os.path.normpath(path).startswith(f"{root}/") and ".." not in path.parts


@pytest.mark.parametrize("name", PAGE)
def test_the_names_of_the_page_work(name: str) -> None:
    assert str(names.parse(name)) == name
    assert str(names.parse(f"{name}@1.0")) == f"{name}@1.0"


@pytest.mark.parametrize("text", ATTACKS)
def test_no_attack_is_a_name_or_a_file_path(text: str) -> None:
    with pytest.raises(WeightsMissing):
        names.parse(text)
    if "/" in text or "\\" in text or text in {"..", "a.", " a", "a ", ""}:
        parts = text.split("/")
        if any(part in {"", ".", ".."} or "\\" in part for part in parts):
            with pytest.raises(WeightsMissing):
                names.check_path(text)


@settings(max_examples=times(1_000, 20_000), deadline=None)
@given(st.text(max_size=80) | st.text(alphabet="aA1./\\@%~-_:\x00 ", max_size=20))
def test_whatever_is_accepted_stays_below_its_root(text: str) -> None:
    paths = CachePaths(ROOT)
    try:
        ref = names.parse(text)
    except WeightsMissing:
        pass
    else:
        version = ref.version or "1.0"
        for path in (
            paths.of_version(ref.name, version),
            paths.partial(ref.name, version, "0" * 8),
            paths.lock(ref.name, version),
            paths.use(ref.name, version),
            paths.current(ref.name),
            paths.quarantined(ref.name, version, "a/b"),
            names.beside(ROOT, ref.name),
        ):
            assert _below(path, ROOT)
        assert "/" not in ref.name
        assert names.name_of(names.folder_of(ref.name)) == ref.name
        assert names.partial_of(paths.partial(ref.name, version, "0" * 8).name) == (ref.name, version)
    try:
        checked = names.check_path(text)
    except WeightsMissing:
        return
    assert _below(ROOT / checked, ROOT)
    assert _below(Path("/") / names.file_key("ab", "1.0", text), Path("/ab"))


@given(st.from_regex(names._NAME, fullmatch=True), st.from_regex(names._NAME, fullmatch=True))
def test_two_names_share_no_cache_folder_even_where_case_is_ignored(one: str, other: str) -> None:
    for name in (one, other, one.swapcase()):
        try:
            names.check_name(name)
        except WeightsMissing:
            return
    same = names.folder_of(one).lower() == names.folder_of(other).lower()
    assert same == (one == other)
    assert (names.folder_of(one).lower() == names.folder_of(one.swapcase()).lower()) == (
        one == one.swapcase()
    )


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        (["1.9", "1.10"], "1.10"),
        (["2.0rc1", "1.0"], "1.0"),
        (["2.0rc1", "2.0a1"], "2.0rc1"),
        (["9", "10", "folder", "10.0.post1"], "10.0.post1"),
        (["no", "version"], None),
        ([], None),
    ],
)
def test_versions_are_compared_as_versions(versions: list[str], newest: str | None) -> None:
    assert names.newest(versions) == newest


def test_versions_are_canonical_and_equal_spellings_are_found() -> None:
    assert names.check_version("v1.0-RC1") == "1.0rc1"
    assert names.same_version("1.0", ["2.0", "1.0.0"]) == "1.0.0"
    assert names.same_version("1.0", ["2.0", "x"]) is None
    assert [names.following(text) for text in ("1.0.0", "1.9", "2.0rc1", "3")] == [
        "1.0.1",
        "1.10",
        "2.0",
        "4",
    ]


@pytest.mark.parametrize(
    "paths",
    [
        ["a/b", "A/b"],
        ["a", "a/b"],
        ["x/y", "X"],
        ["reactor-weights.json"],
        ["Reactor-Latest.json"],
        ["a//b"],
        ["a/"],
    ],
)
def test_files_that_clash_in_one_folder_are_refused(paths: list[str]) -> None:
    with pytest.raises(WeightsMissing):
        names.check_paths(paths)


def test_the_override_variable_is_the_name_in_capitals() -> None:
    assert names.override_variable("Matrix-Game-2_0-base") == "REACTOR_WEIGHTS_MATRIX_GAME_2_0_BASE"


# The index ---------------------------------------------------------------------------------------

ENTRY = FileEntry(path="a/b.pt", size=3, sha256="0" * 64)
INDEX = Index.of("LongLive", "1.0", [ENTRY, FileEntry(path="a.txt", size=1, sha256="1" * 64)], created="now")


def test_an_index_survives_its_text_and_equal_content_is_equal_bytes() -> None:
    assert Index.parse(INDEX.to_bytes(), name="LongLive", version="1.0") == INDEX
    assert Index.of("LongLive", "1.0", reversed(INDEX.files), created="now").to_bytes() == INDEX.to_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "longlive"}, "belongs to"),
        ({"version": "2.0"}, "belongs to"),
        ({"format": 2}, "format 2"),
        ({"total_bytes": 5}, "contradicts itself"),
        ({"files": [{"path": "../x", "size": 0, "sha256": "0" * 64}]}, "cannot be used"),
        ({"files": [{"path": "/etc/x", "size": 0, "sha256": "0" * 64}]}, "cannot be used"),
        ({"files": [{"path": "x", "size": -1, "sha256": "0" * 64}]}, "cannot be read"),
        ({"files": [{"path": "x", "size": 0, "sha256": "0"}]}, "cannot be read"),
    ],
)
def test_an_index_that_lies_is_refused(change: dict[str, object], words: str) -> None:
    text = INDEX.model_copy(update=change).model_dump_json(warnings=False) if "files" not in change else ""
    if not text:
        import json

        text = json.dumps({**INDEX.model_dump(), **change})
    with pytest.raises(WeightsCorrupt, match=words):
        Index.parse(text.encode(), name="LongLive", version="1.0")


@given(st.binary(max_size=200))
def test_no_bytes_make_the_readers_raise_anything_else(data: bytes) -> None:
    assert Receipt.parse(data) is None
    assert Latest.parse(data) is None
    with pytest.raises(WeightsCorrupt):
        Index.parse(data, name="ab", version="1.0")
    with pytest.raises(WeightsCorrupt):
        index.sizes(data)


@pytest.mark.parametrize(
    ("etag", "md5"),
    [
        ('"' + "a" * 32 + '"', "a" * 32),
        ('W/"' + "A" * 32 + '"', "a" * 32),
        ('"' + "a" * 32 + '-4"', None),
        (None, None),
    ],
)
def test_an_etag_is_taken_for_a_digest_only_when_it_looks_like_one(etag: str | None, md5: str | None) -> None:
    assert index.md5_of_etag(etag) == md5


# Ranges, patience, progress --------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20),
    st.integers(1, 60),
    st.integers(1, 9),
)
def test_ranges_are_a_set_of_bytes(spans: list[tuple[int, int]], whole: int, piece: int) -> None:
    ranges, model = Ranges(), set()
    for start, end in spans:
        ranges.add(start, end)
        model |= set(range(start, end))
    assert ranges.total() == len(model)
    missing = [byte for start, end in ranges.missing(whole, piece=piece) for byte in range(start, end)]
    assert missing == sorted(set(range(whole)) - model)
    assert all(0 < end - start <= piece for start, end in ranges.missing(whole, piece=piece))
    for position in range(whole):
        end = ranges.contiguous_from(position)
        assert all(byte in model for byte in range(position, end))
        assert end not in model


def test_pauses_grow_are_spread_and_end() -> None:
    patience = Patience(backoff_first_s=0.2, backoff_max_s=10)
    dice = random.Random(1).random
    for failures in range(1, 100):
        ceiling = min(10, 0.2 * 2 ** (failures - 1))
        pauses = [patience.pause_s(failures, dice) for _ in range(50)]
        assert ceiling * 0.1 <= min(pauses) < max(pauses) <= ceiling
    assert not patience.exhausted(last_progress_s=5, now_s=4 + patience.give_up_s)
    assert patience.exhausted(last_progress_s=5, now_s=5 + patience.give_up_s)


def test_a_trickle_is_noticed_after_a_window_and_a_slow_line_is_not_one() -> None:
    patience = Patience(stall_s=10, min_bytes_per_s=1024)
    trickle = Trickle(patience, 0.0)
    assert not any(trickle.too_slow(10, second) for second in range(10))
    assert trickle.too_slow(10, 10.0)
    slow = Trickle(patience, 0.0)
    assert not any(slow.too_slow(1500, second) for second in range(100))


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate(window_s=5)
    assert rate.mark(0.0, 0) is None
    values = [rate.mark(second, 100 * second) for second in range(1, 20)]
    assert values[-1] == 100
    for second in range(20, 40):
        last = rate.mark(second, 1900)
    assert last == 0


def test_progress_reads_as_on_the_page() -> None:
    line = Transfer("LongLive", "downloading", 3_100_000_000, 11_400_000_000, 210e6, 40).line()
    assert line == "downloading LongLive 3.1 of 11.4 GB, 210 MB/s, 40 s left"
    assert "another process" in Transfer("LongLive", "waiting", 0, 0).line()
    assert Transfer("LongLive", "retrying", 1, 2, detail="status 503").line().endswith("(status 503)")
    assert [duration(s) for s in (5, 100, 9000)] == ["5 s", "1 min 40 s", "2 h 30 min"]
    assert size(999) == "999 B"
