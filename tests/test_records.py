"""Records: what goes in comes out, and nothing else does."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.running.outlet import FrameInMemory
from reactor_runtime.types import (
    CommandOutcome,
    CommandSpec,
    Demand,
    ModelInfo,
    ModelMessage,
    Track,
    UploadedFile,
)
from reactor_runtime.worker import records
from reactor_runtime.worker.records import TO_MODEL, TO_SERVER, RecordError, RecordReader, encode

INFO = ModelInfo(
    name="m",
    version="1",
    description="d",
    tracks=(Track("main_video", "video", "out"),),
    commands=(CommandSpec("go", "", {"type": "object"}), CommandSpec("ask", "", {}, {"title": "answer"})),
    fps=24.0,
)
FILE = UploadedFile("u1", "../cat.png", "image/png", bytes(range(256)))

FOR_THE_MODEL: list[records.ToModel] = [
    records.Load(
        "/models/a/manifest.json", {"size": [480, 640], "é": None}, 30.0, {"LongLive": "/cache/LongLive"}
    ),
    records.Weights("VAE", "/cache/VAE", None),
    records.Weights("VAE", "", records.Failure("weights_missing", "no VAE anywhere")),
    records.Start("s"),
    records.Stop(),
    records.Close(),
    records.Ping(),
    records.Released(7),
    records.Input(1, 4096, 480, 640, "webcam", 9, 12.25),
    FILE,
    UploadedFile("u2", "", "", b""),
    records.Command(3, "paint", {"image": "u1"}, {"u1": "u1", "u2": "u2"}),
    Demand(5, 1.5, 1 / 30, True, "depth"),
]
FOR_THE_SERVER: list[records.ToServer] = [
    records.Loaded(INFO),
    records.LoadFailed(records.Failure("manifest_error", "no", "f", "k", "x")),
    records.WantWeights("VAE"),
    FrameInMemory(1, 0, 720, 1280, "main_video", 77, 12.5, 0.03, 4, 0.0006),
    records.InputDone(1, unseen=True),
    records.Metrics({"step_s": 0.5}),
    records.FrameFailed("on_frame raised ValueError: no"),
    records.Ended(None),
    records.Ended(records.Failure("model_error", "start_session raised")),
    CommandOutcome(3, reply={"a": [1, None, "\ud800"]}, reply_type="t"),
    ModelMessage("note", {"text": "é\0"}),
]


@pytest.mark.parametrize("record", FOR_THE_MODEL)
def test_what_is_told_to_the_model_arrives_as_it_was(record: Any) -> None:
    assert list(RecordReader(TO_MODEL).feed(encode(record))) == [record]


@pytest.mark.parametrize("record", FOR_THE_SERVER)
def test_what_is_told_to_the_server_arrives_as_it_was(record: Any) -> None:
    assert list(RecordReader(TO_SERVER).feed(encode(record))) == [record]


@given(st.integers(1, 64))
def test_records_may_arrive_in_any_pieces(size: int) -> None:
    data = b"".join(map(encode, FOR_THE_MODEL))
    reader = RecordReader(TO_MODEL)
    found = [r for at in range(0, len(data), size) for r in reader.feed(data[at : at + size])]
    assert found == FOR_THE_MODEL


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.binary(max_size=64))
def test_arguments_and_uploads_survive_whatever_they_hold(arguments: dict[str, Any], data: bytes) -> None:
    file, call = UploadedFile("u", "n", "m", data), records.Command(1, "c", arguments, {"u": "u"})
    assert list(RecordReader(TO_MODEL).feed(encode(file) + encode(call))) == [file, call]


def raw(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<II", len(text), len(body)) + text + body


FRAME = {
    "record": "Frame",
    "ticket": 1,
    "offset": 0,
    "height": 8,
    "width": 8,
    "frame_id": 1,
    "emitted_s": 0.0,
    "busy_s": 0,
    "command_id": 0,
    "emit_s": 0.0,
}


@pytest.mark.parametrize(
    "data",
    [
        raw(b"not json"),
        raw(b"\xff"),
        raw(b"[" * 100_000),
        raw([]),
        raw({}),
        raw({"record": "Nothing"}),
        raw({"record": ["Frame"]}),
        raw({"record": "Stop"}),
        raw({"record": "Frame"}),
        raw(FRAME | {"height": "8"}),
        raw(FRAME | {"height": True}),
        raw(FRAME | {"busy_s": None}),
        raw({"record": "Loaded", "info": {"name": "m"}}),
        raw({"record": "Loaded", "info": None}),
        raw({"record": "Metrics", "values": []}),
        raw({"record": "InputDone", "ticket": 1, "unseen": 1}),
        struct.pack("<II", records.HEADER_MAX_BYTES + 1, 0),
        struct.pack("<II", 2, records.BODY_MAX_BYTES + 1),
    ],
)
def test_what_is_not_a_record_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        list(RecordReader(TO_SERVER).feed(data))


def test_a_byte_field_cannot_reach_beyond_its_record() -> None:
    file = {"record": "UploadedFile", "upload_id": "u", "name": "", "mime_type": ""}
    for claimed in (5, -1):
        with pytest.raises(RecordError, match="byte field"):
            list(RecordReader(TO_MODEL).feed(raw(file | {"data": claimed}, b"1234")))


def test_the_model_process_cannot_claim_memory_for_bytes_that_it_never_sends() -> None:
    with pytest.raises(RecordError, match="claims"):
        list(RecordReader(TO_SERVER, body_max_bytes=0).feed(struct.pack("<II", 2, 1)))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_record_error(data: bytes) -> None:
    for text in (data, raw(data)):
        with suppress(RecordError):
            list(RecordReader(TO_SERVER).feed(text))


def test_what_is_too_large_is_not_sent() -> None:
    with pytest.raises(RecordError, match="UploadedFile"):
        encode(UploadedFile("u", "", "", bytes(limits.UPLOAD_MAX_BYTES + 1)))
    with pytest.raises(RecordError, match="ModelMessage"):
        encode(ModelMessage("t", {"x": "x" * records.HEADER_MAX_BYTES}))
