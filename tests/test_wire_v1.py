"""The protobuf format: literal frames of the published client first, then properties."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.errors import MessageRejected
from reactor_runtime.wire import messages as m
from reactor_runtime.wire import reactor_wire_v1_pb2 as pb
from reactor_runtime.wire.v1 import V1

REQUEST, RESPONSE, NOTIFICATION = (
    pb.MESSAGE_KIND_REQUEST,
    pb.MESSAGE_KIND_RESPONSE,
    pb.MESSAGE_KIND_NOTIFICATION,
)


def control(request_id: str = "", kind: pb.MessageKind = NOTIFICATION, **payload: Any) -> bytes:
    return pb.ControlClientMessage(request_id=request_id, kind=kind, **payload).SerializeToString()


def data(request_id: str = "", kind: pb.MessageKind = REQUEST, **payload: Any) -> bytes:
    return pb.DataClientMessage(request_id=request_id, kind=kind, **payload).SerializeToString()


def struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made


LITERAL_IN: list[tuple[m.Channel, str, m.ClientMessage]] = [
    ("control", "10035200", m.Ping()),
    ("control", "10038a010c0a0a6d61696e5f766964656f", m.ResumeTrack("main_video")),
    ("control", "0a066374726c5f3110017a080a0677656263616d", m.PublishTrack("ctrl_1", "webcam")),
    ("data", "0a06646174615f321001520d0a096765745f73746174651200", m.Command("data_2", "get_state", {})),
]


@pytest.mark.parametrize(("channel", "frame", "message"), LITERAL_IN)
def test_the_published_clients_frames_are_understood(
    channel: m.Channel, frame: str, message: m.ClientMessage
) -> None:
    assert V1().decode(channel, bytes.fromhex(frame)) == message


LITERAL_OUT: list[tuple[m.ServerMessage, m.Channel, str]] = [
    (m.PublishGranted("ctrl_1", ""), "control", "0a066374726c5f3110027200"),
    (m.CommandReply("data_3", "jump"), "data", "0a06646174615f331002"),
    (m.SessionEnded("bye now"), "control", "10037a090a07627965206e6f77"),
]


@pytest.mark.parametrize(("message", "channel", "frame"), LITERAL_OUT)
def test_what_the_published_client_was_seen_to_get_is_what_we_send(
    message: m.ServerMessage, channel: m.Channel, frame: str
) -> None:
    assert V1().encode(message) == [m.Outgoing(channel, bytes.fromhex(frame))]


def test_an_error_of_a_command_begins_as_the_published_client_expects() -> None:
    [frame] = V1().encode(m.CommandRefused("data_3", "set", "invalid_command", "unknown command"))
    assert isinstance(frame.payload, bytes)
    assert frame.payload.hex().startswith("0a06646174615f331002c202")


DECODED: list[tuple[m.Channel, bytes, m.ClientMessage]] = [
    ("control", control("ctrl_1", REQUEST, request_schema=pb.RequestSchema()), m.RequestSchema("ctrl_1")),
    (
        "control",
        control("ctrl_2", REQUEST, request_clip=pb.RequestClip(duration_seconds=5)),
        m.RequestClip("ctrl_2", 5.0),
    ),
    (
        "control",
        control("ctrl_3", REQUEST, request_recording=pb.RequestRecording()),
        m.RequestRecording("ctrl_3"),
    ),
    ("control", control(pause_track=pb.PauseTrack(name="a")), m.PauseTrack("a")),
    ("control", control(unpublish_track=pb.UnpublishTrack(name="a")), m.UnpublishTrack("a")),
    (
        "control",
        control(file_uploaded=pb.FileUploaded(upload_id="u", name="n", mime_type="t", size=7)),
        m.FileUploaded(m.UploadReference("u", "n", "t", 7)),
    ),
    ("control", control(error=pb.Error(code="c", message="m")), m.Unsupported(None, "error")),
    ("control", control("c", RESPONSE), m.Unsupported(None, "unknown")),
    ("control", control("c", REQUEST), m.Unsupported("c", "unknown")),
    # Field 19, the media statistics of newer clients, and a kind and a field of the future.
    ("control", bytes.fromhex("10039a0102100a"), m.Unsupported(None, "unknown")),
    ("control", bytes.fromhex("0a0163 10 09 9a0600".replace(" ", "")), m.Unsupported(None, "unknown")),
    ("data", data("d", REQUEST), m.Unsupported("d", "unknown")),
    ("data", data("d", RESPONSE, error=pb.Error(code="c")), m.Unsupported(None, "error")),
    ("data", data("", REQUEST, command=pb.Command(type="jump")), m.Command(None, "jump", {})),
    (
        "data",
        data(
            "data_1",
            command=pb.Command(
                type="see",
                data=struct(n=3, f=2.5, s="ä", none=None, yes=True, l=[1, [2]], o={"p": {}}),
                uploads={"image": pb.UploadReference(upload_id="u", name="n", mime_type="t", size=7)},
            ),
        ),
        m.Command(
            "data_1",
            "see",
            {"n": 3, "f": 2.5, "s": "ä", "none": None, "yes": True, "l": [1, [2]], "o": {"p": {}}},
            {"image": m.UploadReference("u", "n", "t", 7)},
        ),
    ),
]


@pytest.mark.parametrize(("channel", "frame", "message"), DECODED)
def test_every_kind_of_frame_says_what_it_says(
    channel: m.Channel, frame: bytes, message: m.ClientMessage
) -> None:
    assert V1().decode(channel, frame) == message


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (1.0, 1),
        (-3.0, -3),
        (0.0, 0),
        (-0.0, 0),
        (2.5, 2.5),
        (2.0**53, 2**53),
        (2.0**60, 2.0**60),
        (1e300, 1e300),
    ],
)
def test_integral_doubles_become_integers_as_far_as_they_are_exact(sent: float, got: float) -> None:
    decoded = V1().decode("data", data(command=pb.Command(type="x", data=struct(n=sent))))
    assert isinstance(decoded, m.Command)
    assert decoded.arguments == {"n": got}
    assert type(decoded.arguments["n"]) is type(got)


def nested(depth: int) -> Struct:
    value: Any = 1
    for _ in range(depth - 1):
        value = {"a": value}
    return struct(a=value)


def endless_list(depth: int) -> bytes:
    """Write by hand what no library writes: a list in a list, deeper than any parser follows."""
    value = b"\x20\x01"
    for _ in range(depth):
        for tag in (b"\x0a", b"\x32"):  # ListValue.values, then Value.list_value
            value = tag + _varint(len(value)) + value
    for tag in (b"\x0a\x01a\x12", b"\x0a", b"\x0a\x01x\x12", b"\x52"):  # a map entry, fields, data, command
        head, last = tag[:-1], tag[-1:]
        value = head + last + _varint(len(value)) + value
    return value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


REJECTED: list[tuple[m.Channel, str | bytes]] = [
    ("data", b""),
    ("control", b""),
    ("data", "text"),
    ("control", '{"type":"request"}'),
    ("data", b"\xff"),
    ("data", b"\x0a\xff"),
    ("data", b"\x0a\x02\xc3\x28"),
    ("data", b'{"scope":"runtime"}'),
    ("data", data(command=pb.Command())),
    ("data", data(command=pb.Command(type="x", data=struct(a=float("nan"))))),
    ("data", data(command=pb.Command(type="x", data=struct(a=[float("inf")])))),
    ("data", data(command=pb.Command(type="x", data=Struct(fields={"a": Value()})))),
    ("data", data(command=pb.Command(type="x", data=nested(limits.MESSAGE_MAX_DEPTH + 1)))),
    ("data", endless_list(500)),
    ("data", data(command=pb.Command(type="x" * limits.MESSAGE_MAX_BYTES))),
    ("control", control(request_clip=pb.RequestClip(duration_seconds=float("nan")))),
]


@pytest.mark.parametrize(("channel", "frame"), REJECTED, ids=range(len(REJECTED)))
def test_a_frame_that_says_nothing_is_rejected(channel: m.Channel, frame: str | bytes) -> None:
    with pytest.raises(MessageRejected) as rejected:
        V1().decode(channel, frame)
    assert len(str(rejected.value)) < 200


def test_nesting_up_to_the_limit_is_fine() -> None:
    frame = data(command=pb.Command(type="x", data=nested(limits.MESSAGE_MAX_DEPTH)))
    assert isinstance(V1().decode("data", frame), m.Command)


def parsed(frame: m.Outgoing) -> dict[str, Any]:
    assert isinstance(frame.payload, bytes)
    envelope = pb.DataServerMessage() if frame.channel == "data" else pb.ControlServerMessage()
    envelope.ParseFromString(frame.payload)
    return MessageToDict(envelope, preserving_proto_field_name=True)


R, N = "MESSAGE_KIND_RESPONSE", "MESSAGE_KIND_NOTIFICATION"

ENCODED: list[tuple[m.ServerMessage, m.Channel, dict[str, Any]]] = [
    (
        m.CommandReply("d1", "get", "state", {"n": 1, "l": [None, {"x": True}]}),
        "data",
        {
            "request_id": "d1",
            "kind": R,
            "message": {"type": "state", "data": {"n": 1.0, "l": [None, {"x": True}]}},
        },
    ),
    (
        m.CommandReply("d1", "get", "", {"n": 1}),
        "data",
        {"request_id": "d1", "kind": R, "message": {"data": {"n": 1.0}}},
    ),
    (
        m.CommandReply(None, "get", "state", {}),
        "data",
        {"kind": N, "message": {"type": "state", "data": {}}},
    ),
    (
        m.CommandRefused("d1", "set", "invalid_command", "7.0 > le(1.0)", "intensity"),
        "data",
        {
            "request_id": "d1",
            "kind": R,
            "error": {"code": "invalid_command", "message": "intensity: 7.0 > le(1.0)"},
        },
    ),
    (
        m.CommandRefused("d1", "set", "invalid_command", "intensity: too much", "intensity"),
        "data",
        {
            "request_id": "d1",
            "kind": R,
            "error": {"code": "invalid_command", "message": "intensity: too much"},
        },
    ),
    (m.Broadcast("score", {"n": 1.5}), "data", {"kind": N, "message": {"type": "score", "data": {"n": 1.5}}}),
    (
        m.Schema("c1", {"openapi": "3.1.0"}),
        "control",
        {"request_id": "c1", "kind": R, "model_schema": {"openapi": {"openapi": "3.1.0"}}},
    ),
    (
        m.ClipReady("c1", "s", "recording", 0.0, 5.0, 5.5, 1_700_000_000_000, "/clips"),
        "control",
        {
            "request_id": "c1",
            "kind": R,
            "clip_ready": {
                "session_id": "s",
                "kind": "recording",
                "end_marker": 5.0,
                "now_marker": 5.5,
                "predicted_ready_at_ms": "1700000000000",
                "playlist_url": "/clips",
            },
        },
    ),
    (
        m.ClipFailed("c1", "recorder disabled"),
        "control",
        {"request_id": "c1", "kind": R, "clip_failed": {"reason": "recorder disabled"}},
    ),
    (
        m.PublishGranted("c1", "webcam"),
        "control",
        {"request_id": "c1", "kind": R, "publish_track": {"name": "webcam"}},
    ),
    (
        m.RequestRefused("c1", "publish_track", "publish_refused", "track already published"),
        "control",
        {
            "request_id": "c1",
            "kind": R,
            "error": {"code": "publish_refused", "message": "track already published"},
        },
    ),
    (
        m.Moderation("terminate", "bye", "text", "set_prompt", ("a",)),
        "control",
        {
            "kind": N,
            "moderation": {
                "action": "terminate",
                "message": "bye",
                "input_kind": "text",
                "command": "set_prompt",
                "categories": ["a"],
            },
        },
    ),
    (
        m.RuntimeNotice("model_error", "oh"),
        "control",
        {"kind": N, "error": {"code": "model_error", "message": "oh"}},
    ),
]


@pytest.mark.parametrize(("message", "channel", "expected"), ENCODED)
def test_what_the_server_says_is_one_frame_on_its_channel(
    message: m.ServerMessage, channel: m.Channel, expected: dict[str, Any]
) -> None:
    [frame] = V1().encode(message)
    assert (frame.channel, parsed(frame)) == (channel, expected)


@pytest.mark.parametrize(
    "message",
    [
        m.CommandReply(None, "get"),
        m.CommandRefused(None, "set", "code", "message"),
        m.RequestRefused(None, "x", "code", "message"),
        m.CommandShown("r1", "set", 1),
        m.PictureSent("main_video", 1, {}, {}),
        m.Capabilities({}),
        m.RuntimeStats({}),
        m.Values({"zoom": {"values": {"by": 2}}}),
        m.Company(3, 1, driving=True),
        m.Vote(1, "go", "to", "", {"w": 1}),
        m.Wheel("watch", None, None, (), ()),
        m.Seat("key"),
        m.People(()),
        m.Released(("go",)),
        m.RequestDone("1", "wheel"),
    ],
)
def test_what_the_format_has_no_words_for_is_not_said(message: m.ServerMessage) -> None:
    assert V1().encode(message) == []


@pytest.mark.parametrize(
    "values",
    [
        {"a": float("nan")},
        {"a": 10**400},
        {"a": object()},
        {7: "a"},
        {"a": "x" * limits.MESSAGE_MAX_BYTES},
        {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
    ],
)
def test_what_is_not_json_or_too_large_is_not_sent(values: Any) -> None:
    with pytest.raises(MessageRejected):
        V1().encode(m.Broadcast("x", values))


def test_lone_surrogates_of_a_model_become_question_marks() -> None:
    [frame] = V1().encode(m.Broadcast("said\ud800", {"te\udc00xt": "\ud800!"}))
    assert parsed(frame)["message"] == {"type": "said?", "data": {"te?xt": "?!"}}


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(texts, texts.filter(bool), st.dictionaries(texts, values, max_size=5))
def test_any_command_survives_the_wire(request_id: str, name: str, arguments: Any) -> None:
    frame = data(request_id, command=pb.Command(type=name, data=_struct(arguments)))
    assert V1().decode("data", frame) == m.Command(request_id or None, name, arguments)


def _struct(arguments: dict[str, Any]) -> Struct:
    made = Struct()
    made.update(arguments)
    return made


@given(texts, st.dictionaries(texts, values, max_size=5))
def test_any_broadcast_survives_the_wire(name: str, sent: Any) -> None:
    [frame] = V1().encode(m.Broadcast(name, sent))
    assert isinstance(frame.payload, bytes)
    # The Struct of a message reads back as that of a command, which is how the client reads it.
    received = pb.DataServerMessage.FromString(frame.payload)
    assert received.message.type == name
    command = data(command=pb.Command(type="x", data=received.message.data))
    assert V1().decode("data", command) == m.Command(None, "x", sent)


@pytest.mark.slow
def test_the_generated_code_imports_without_a_warning() -> None:
    code = "import reactor_runtime.wire.reactor_wire_v1_pb2"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
