"""Which wire format a first frame reveals."""

from __future__ import annotations

import pytest

from reactor_runtime.wire.reactor_wire_v1_pb2 import (
    Command,
    ControlClientMessage,
    DataClientMessage,
    MessageKind,
    Ping,
)
from reactor_runtime.wire.sniff import sniff


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ('{"scope":"runtime","data":{"type":"ping","data":{}}}', "v0"),
        ("", "v0"),
        ("any text at all", "v0"),
        (b'{"scope":"runtime"}', "v0"),
        (b" \r\n\t{", "v0"),
        (b"[1]", "v0"),
        (b"", "v1"),
        (b"   ", "v1"),
        (bytes.fromhex("10035200"), "v1"),
        (bytes.fromhex("0a066374726c5f3110017a080a0677656263616d"), "v1"),
        (b"\xef\xbb\xbf{}", "v1"),
    ],
)
def test_the_first_frame_reveals_the_format(payload: str | bytes, name: str) -> None:
    assert sniff(payload).name == name


@pytest.mark.parametrize("kind", MessageKind.keys())
def test_protobuf_frames_of_any_likely_request_id_are_told_from_json(kind: str) -> None:
    for length in range(91):
        for envelope in (
            ControlClientMessage(request_id="c" * length, kind=kind, ping=Ping()),
            DataClientMessage(request_id="c" * length, kind=kind, command=Command(type="x")),
        ):
            assert sniff(envelope.SerializeToString()).name == "v1", length
