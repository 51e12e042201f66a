"""The JSON format, frame by frame."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor_runtime import limits
from reactor_runtime.errors import MessageRejected
from reactor_runtime.wire import messages as m
from reactor_runtime.wire.v0 import V0

UPLOAD = {"upload_id": "4f1c", "name": "cat.png", "mime_type": "image/png", "size": 7}
REFERENCE = m.UploadReference("4f1c", "cat.png", "image/png", 7)

DATA = [
    ('{"scope":"runtime","data":{"type":"ping","data":{}}}', m.Ping()),
    ('{"scope":"runtime","data":{"type":"requestSchema","data":{}}}', m.RequestSchema()),
    ('{"scope":"runtime","data":{"type":"requestCapabilities","data":{}}}', m.RequestCapabilities()),
    (
        '{"scope":"runtime","data":{"type":"requestClip","data":{"duration_seconds":5}}}',
        m.RequestClip(None, 5),
    ),
    ('{"scope":"runtime","data":{"type":"requestRecording","data":{}}}', m.RequestRecording(None)),
    (
        json.dumps({"scope": "runtime", "data": {"type": "fileUploaded", "data": UPLOAD}}),
        m.FileUploaded(REFERENCE),
    ),
    ('{"scope":"runtime","data":{"type":"fromTheFuture"}}', m.Unsupported(None, "fromTheFuture")),
    ('{"scope":"application","data":{"type":"jump","data":{}}}', m.Command(None, "jump", {})),
    ('{"scope":"application","data":{"type":"jump"}}', m.Command(None, "jump", {})),
    (
        '{"scope":"application","data":{"type":"jump","data":null,"uploads":null}}',
        m.Command(None, "jump", {}),
    ),
    (
        '{"scope":"application","data":{"type":"set","data":{"x":1,"y":[2.5,"ä",null,true]}},"extra":[]}',
        m.Command(None, "set", {"x": 1, "y": [2.5, "ä", None, True]}),
    ),
    (
        json.dumps(
            {"scope": "application", "data": {"type": "see", "data": {}, "uploads": {"image": UPLOAD}}}
        ),
        m.Command(None, "see", {}, {"image": REFERENCE}),
    ),
    (
        '{"scope":"application","data":{"type":"set","request_id":"r-7","data":{"x":1}}}',
        m.Command("r-7", "set", {"x": 1}),
    ),
    (b'{"scope":"runtime","data":{"type":"ping","data":{}}}', m.Ping()),
    ('{"scope":"runtime","data":{"type":"vote","data":{"round":3,"choice":"w"}}}', m.Ballot(3, "w")),
    ('{"scope":"runtime","data":{"type":"beat"}}', m.Beat()),
    (
        '{"scope":"runtime","data":{"type":"deadman","data":{"release":[{"command":"go","data":{"x":0}}]}}}',
        m.Arm((m.Command(None, "go", {"x": 0}),)),
    ),
    ('{"scope":"runtime","data":{"type":"deadman","data":{"release":[]}}}', m.Arm(())),
    (
        '{"scope":"runtime","data":{"type":"wheel","data":{"action":"take","seat":"k"}}}',
        m.WheelAction(None, "take", seat="k"),
    ),
    (
        '{"scope":"runtime","data":{"type":"operate","data":{"action":"kick","id":2,"reason":"no"}}}',
        m.Operate(None, "kick", 2, "no"),
    ),
]

CONTROL = [
    (
        '{"type":"request","method":"wheel","request_id":"1","data":{"action":"give","to":2}}',
        m.WheelAction("1", "give", 2),
    ),
    (
        '{"type":"request","method":"operate","request_id":"1","data":{"action":"drain"}}',
        m.Operate("1", "drain"),
    ),
    (
        '{"type":"request","method":"publish_track","request_id":"ctrl_1","data":{"name":"webcam"}}',
        m.PublishTrack("ctrl_1", "webcam"),
    ),
    (
        '{"type":"request","method":"teleport","request_id":"ctrl_2","data":{}}',
        m.Unsupported("ctrl_2", "teleport"),
    ),
    (
        '{"type":"notification","event":"pause_track","data":{"name":"main_video"}}',
        m.PauseTrack("main_video"),
    ),
    (
        '{"type":"notification","event":"resume_track","data":{"name":"main_video"}}',
        m.ResumeTrack("main_video"),
    ),
    (
        '{"type":"notification","event":"unpublish_track","data":{"name":"webcam"}}',
        m.UnpublishTrack("webcam"),
    ),
    ('{"type":"notification","event":"wave","data":{}}', m.Unsupported(None, "wave")),
    ('{"type":"response","method":"x","request_id":"1","data":{}}', m.Unsupported(None, "response")),
]


@pytest.mark.parametrize(("payload", "message"), DATA)
def test_a_data_frame_says_what_it_says(payload: str | bytes, message: m.ClientMessage) -> None:
    assert V0().decode("data", payload) == message


@pytest.mark.parametrize(("payload", "message"), CONTROL)
def test_a_control_frame_says_what_it_says(payload: str, message: m.ClientMessage) -> None:
    assert V0().decode("control", payload) == message


def command(arguments: str) -> str:
    return '{"scope":"application","data":{"type":"set","data":' + arguments + "}}"


REJECTED = [
    "",
    "   ",
    "nonsense",
    "null",
    "7",
    "[]",
    "{}",
    '{"scope":"application"}',
    '{"scope":"application","data":[]}',
    '{"scope":"application","data":{"type":""}}',
    '{"scope":"application","data":{"type":7}}',
    '{"scope":"application","data":{"type":"x","data":[]}}',
    '{"scope":"application","data":{"type":"x","uploads":[]}}',
    '{"scope":"application","data":{"type":"x","uploads":{"a":{}}}}',
    '{"scope":"application","data":{"type":"x","uploads":{"a":{"upload_id":"1","size":1.5}}}}',
    '{"scope":"application","data":{"type":"x","request_id":7}}',
    '{"scope":"application","data":{"type":"%s"}}' % ("x" * 129),
    '{"scope":"other","data":{"type":"x"}}',
    '{"scope":["application"],"data":{"type":"x"}}',
    '{"type":"ping"}',
    '{"scope":"runtime","data":{"type":"requestClip","data":{}}}',
    '{"scope":"runtime","data":{"type":"deadman","data":{}}}',
    '{"scope":"runtime","data":{"type":"deadman","data":{"release":[7]}}}',
    '{"scope":"runtime","data":{"type":"deadman","data":{"release":[{"command":""}]}}}',
    json.dumps(
        {"scope": "runtime", "data": {"type": "deadman", "data": {"release": [{"command": "go"}] * 5}}}
    ),
    '{"scope":"runtime","data":{"type":"wheel","data":{"action":"steal"}}}',
    '{"scope":"runtime","data":{"type":"wheel","data":{"action":"give","to":"2"}}}',
    '{"scope":"runtime","data":{"type":"wheel","data":{"action":"give","to":true}}}',
    '{"scope":"runtime","data":{"type":"wheel","data":{"action":"take","seat":7}}}',
    '{"scope":"runtime","data":{"type":"operate","data":{"action":"explode"}}}',
    '{"scope":"runtime","data":{"type":"requestClip","data":{"duration_seconds":"5"}}}',
    '{"scope":"runtime","data":{"type":"requestClip","data":{"duration_seconds":true}}}',
    '{"scope":"runtime","data":{"type":"requestClip","data":{"duration_seconds":1%s}}}' % ("0" * 400),
    '{"scope":"runtime","data":{"type":"vote","data":{"choice":"w"}}}',
    '{"scope":"runtime","data":{"type":"vote","data":{"round":true,"choice":"w"}}}',
    '{"scope":"runtime","data":{"type":"vote","data":{"round":1,"choice":["w"]}}}',
    command('{"a":NaN}'),
    command('{"a":Infinity}'),
    command('{"a":-Infinity}'),
    command('{"a":1e999}'),
    command('{"a":1,"a":2}'),
    command('{"a":{"b":1,"b":1}}'),
    command('{"a":"\\ud800"}'),
    command('{"a":"\\udc00\\ud800"}'),
    command('{"\\ud800":1}'),
    command('{"a":"\ud800"}'),
    command('{"a":"\n"}'),
    command('{"a":' + "9" * 5_000 + "}"),
    command('{"a":' + "[" * 31 + "]" * 31 + "}"),
    command('{"a":' + '{"a":' * 1_000 + "1" + "}" * 1_000 + "}"),
    command('{"a":' + "[" * 100_000 + "}"),
    command('{"a":"' + "x" * limits.MESSAGE_MAX_BYTES + '"}'),
    b"\xff\xfe{}",
    b'{"scope":"\xc3"}',
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("payload", REJECTED, ids=range(len(REJECTED)))
def test_a_frame_that_says_nothing_is_rejected_without_an_echo(payload: str | bytes) -> None:
    with pytest.raises(MessageRejected) as rejected:
        V0().decode("data", payload)
    assert len(str(rejected.value)) < 200
    assert str(rejected.value).isascii()


@pytest.mark.parametrize(
    "payload",
    [
        "{}",
        '{"type":"request"}',
        '{"type":"request","method":"publish_track","request_id":"1"}',
        '{"type":"request","method":"publish_track","request_id":"1","data":{"name":7}}',
        '{"type":"notification","event":"pause_track"}',
        '{"type":"notification"}',
        '{"type":"gossip"}',
    ],
)
def test_a_control_frame_that_says_nothing_is_rejected(payload: str) -> None:
    with pytest.raises(MessageRejected):
        V0().decode("control", payload)


def test_nesting_up_to_the_limit_and_astral_characters_are_fine() -> None:
    deepest = limits.MESSAGE_MAX_DEPTH - 4  # the envelope, its data, the command's data and their list
    decoded = V0().decode("data", command('{"a":' + "[" * deepest + "]" * deepest + "}"))
    assert isinstance(decoded, m.Command)
    assert V0().decode("data", command('{"a":"\\ud83d\\ude00"}')) == m.Command(None, "set", {"a": "😀"})


def application(kind: str, data: Any) -> tuple[str, Any]:
    return ("data", {"scope": "application", "data": {"type": kind, "data": data}})


def runtime(kind: str, data: Any) -> tuple[str, Any]:
    return ("data", {"scope": "runtime", "data": {"type": kind, "data": data}})


ENCODED: list[tuple[m.ServerMessage, list[tuple[str, Any]]]] = [
    (m.Broadcast("score", {"n": 1}), [application("score", {"n": 1})]),
    (m.CommandReply(None, "get"), []),
    (m.CommandReply(None, "get", "state", {"n": 1}), [application("state", {"n": 1})]),
    (
        m.CommandReply("r1", "get"),
        [runtime("commandReceipt", {"request_id": "r1", "command": "get", "accepted": True})],
    ),
    (
        m.CommandReply("r1", "get", "state", {"n": 1}),
        [
            runtime(
                "commandReceipt",
                {
                    "request_id": "r1",
                    "command": "get",
                    "accepted": True,
                    "reply": {"type": "state", "data": {"n": 1}},
                },
            ),
            application("state", {"n": 1}),
        ],
    ),
    (
        m.CommandReply("r1", "get", "state"),
        [
            runtime(
                "commandReceipt",
                {
                    "request_id": "r1",
                    "command": "get",
                    "accepted": True,
                    "reply": {"type": "state", "data": {}},
                },
            ),
            application("state", {}),
        ],
    ),
    (m.CommandRefused(None, "set", "invalid_command", "no"), []),
    (
        m.CommandRefused("r1", "set", "invalid_command", "at most 1", "size.width"),
        [
            runtime(
                "commandReceipt",
                {
                    "request_id": "r1",
                    "command": "set",
                    "accepted": False,
                    "code": "invalid_command",
                    "message": "at most 1",
                    "field": "size.width",
                },
            )
        ],
    ),
    (
        m.CommandRefused("r1", "set", "busy", "later"),
        [
            runtime(
                "commandReceipt",
                {"request_id": "r1", "command": "set", "accepted": False, "code": "busy", "message": "later"},
            )
        ],
    ),
    (
        m.CommandShown("r1", "set", 42),
        [runtime("commandShown", {"request_id": "r1", "command": "set", "frame_id": 42})],
    ),
    (
        m.CommandShown("r1", "set", 42, {"rtp_timestamp": 4_294_967_295}),
        [
            runtime(
                "commandShown",
                {"request_id": "r1", "command": "set", "frame_id": 42, "rtp_timestamp": 4_294_967_295},
            )
        ],
    ),
    (m.Schema(None, {"openapi": "3.1.0"}), [runtime("modelSchema", {"openapi": "3.1.0"})]),
    (m.Capabilities({"commands": []}), [runtime("modelCapabilities", {"commands": []})]),
    (
        m.ClipReady(None, "s", "snap", 1.0, 5.0, 5.5, 1_700_000_000_000, "/clips?session_id=s"),
        [
            runtime(
                "clipReady",
                {
                    "session_id": "s",
                    "kind": "snap",
                    "start_marker": 1.0,
                    "end_marker": 5.0,
                    "now_marker": 5.5,
                    "predicted_ready_at_ms": 1_700_000_000_000,
                    "playlist_url": "/clips?session_id=s",
                },
            )
        ],
    ),
    (m.ClipFailed(None, "recorder disabled"), [runtime("clipFailed", {"reason": "recorder disabled"})]),
    (
        m.PublishGranted("ctrl_1", "webcam"),
        [("control", {"type": "response", "method": "publish_track", "request_id": "ctrl_1", "data": {}})],
    ),
    (m.PublishGranted(None, "webcam"), []),
    (
        m.RequestRefused("ctrl_1", "publish_track", "publish_refused", "track already published"),
        [
            (
                "control",
                {
                    "type": "response",
                    "method": "publish_track",
                    "request_id": "ctrl_1",
                    "error": {"code": "publish_refused", "message": "track already published"},
                },
            )
        ],
    ),
    (m.RequestRefused(None, "teleport", "unsupported", "no"), []),
    (
        m.Moderation("warn", "please", "text", "set_prompt", ("a", "b")),
        [
            runtime(
                "moderation",
                {
                    "action": "warn",
                    "input_kind": "text",
                    "command": "set_prompt",
                    "categories": ["a", "b"],
                    "message": "please",
                },
            )
        ],
    ),
    (m.SessionEnded("bye now"), [runtime("sessionEnded", {"reason": "bye now"})]),
    (m.RuntimeNotice("model_error", "oh"), [runtime("notice", {"code": "model_error", "message": "oh"})]),
    (m.RuntimeStats({"fps": 30.0}), [runtime("stats", {"fps": 30.0})]),
    (
        m.Values({"zoom": {"values": {"by": 2}}}),
        [runtime("values", {"commands": {"zoom": {"values": {"by": 2}}}})],
    ),
    (
        m.Values({"zoom": {"values": {"by": 1}}}, reset=True),
        [runtime("values", {"commands": {"zoom": {"values": {"by": 1}}}, "reset": True})],
    ),
    (
        m.Vote(2, "set_sky", "sky", "Sky", {"day": 3, "night": 1}, ends_in_s=4.5, yours="day"),
        [
            runtime(
                "vote",
                {
                    "round": 2,
                    "command": "set_sky",
                    "parameter": "sky",
                    "title": "Sky",
                    "choices": ["day", "night"],
                    "counts": {"day": 3, "night": 1},
                    "ends_in_s": 4.5,
                    "yours": "day",
                    "result": None,
                },
            )
        ],
    ),
    (
        m.Vote(2, "go", "to", "", {"w": 3}, result="w", receipt=m.VoteReceipt(False, "busy", "not now")),
        [
            runtime(
                "vote",
                {
                    "round": 2,
                    "command": "go",
                    "parameter": "to",
                    "title": "",
                    "choices": ["w"],
                    "counts": {"w": 3},
                    "ends_in_s": None,
                    "yours": None,
                    "result": "w",
                    "receipt": {
                        "by": "vote",
                        "counts": {"w": 3},
                        "accepted": False,
                        "code": "busy",
                        "message": "not now",
                    },
                },
            )
        ],
    ),
    (m.Company(3, 1, driving=True), [runtime("company", {"viewers": 3, "drivers": 1, "driving": True})]),
    (
        m.Wheel("watch", m.Visitor(1, "Visitor 1"), 4.5, ("request",), (m.Visitor(2, "Visitor 2"),)),
        [
            runtime(
                "wheel",
                {
                    "you": "watch",
                    "driver": {"id": 1, "name": "Visitor 1"},
                    "kept_s": 4.5,
                    "may": ["request"],
                    "requests": [{"id": 2, "name": "Visitor 2"}],
                },
            )
        ],
    ),
    (
        m.Wheel("watch", None, None, (), ()),
        [runtime("wheel", {"you": "watch", "driver": None, "kept_s": None, "may": [], "requests": []})],
    ),
    (m.Seat("key"), [runtime("seat", {"seat": "key"})]),
    (m.Released(("go",)), [runtime("deadman", {"released": ["go"]})]),
    (
        m.People((m.Person(1, "Visitor 1", 1002, "drive", "ada"), m.Person(2, "Visitor 2", 1003, "watch"))),
        [
            runtime(
                "people",
                {
                    "people": [
                        {"id": 1, "name": "Visitor 1", "connection_id": 1002, "role": "drive", "sub": "ada"},
                        {"id": 2, "name": "Visitor 2", "connection_id": 1003, "role": "watch"},
                    ]
                },
            )
        ],
    ),
    (
        m.RequestDone("1", "wheel"),
        [("control", {"type": "response", "method": "wheel", "request_id": "1", "data": {}})],
    ),
    (m.RequestDone(None, "wheel"), []),
    (
        m.PictureSent("main_video", 7, {"rtp_timestamp": 9}, {"sent_ms": 1.5}),
        [
            runtime(
                "pictureSent",
                {
                    "track": "main_video",
                    "frame_id": 7,
                    "rendition": "full",
                    "rtp_timestamp": 9,
                    "times": {"sent_ms": 1.5},
                },
            )
        ],
    ),
    (
        m.CommandShown("r1", "set", 42, times={"asked_ms": 2.0}),
        [
            runtime(
                "commandShown",
                {"request_id": "r1", "command": "set", "frame_id": 42, "times": {"asked_ms": 2.0}},
            )
        ],
    ),
]


@pytest.mark.parametrize(("message", "expected"), ENCODED, ids=lambda value: type(value).__name__)
def test_what_the_server_says_is_text_in_the_documented_shape(
    message: m.ServerMessage, expected: list[tuple[str, Any]]
) -> None:
    frames = V0().encode(message)
    assert all(isinstance(frame.payload, str) for frame in frames)
    assert [(frame.channel, json.loads(frame.payload)) for frame in frames] == expected


def test_a_lone_surrogate_of_a_model_does_not_break_the_text_frame() -> None:
    [frame] = V0().encode(m.Broadcast("said", {"text": "\ud800"}))
    assert isinstance(frame.payload, str)
    assert frame.payload.isascii()


@pytest.mark.parametrize(
    "data", [{"a": float("nan")}, {"a": float("inf")}, {"a": object()}, {"a": "x" * limits.MESSAGE_MAX_BYTES}]
)
def test_what_is_not_json_or_too_large_is_not_sent(data: dict[str, Any]) -> None:
    with pytest.raises(MessageRejected):
        V0().encode(m.Broadcast("x", data))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
objects = st.dictionaries(texts, values, max_size=5)
references = st.builds(m.UploadReference, names, texts, texts, st.integers(-(2**63), 2**63))


@given(st.none() | names, names, objects, st.dictionaries(texts, references, max_size=3), st.booleans())
def test_any_command_survives_the_wire(
    request_id: str | None, name: str, arguments: Any, uploads: dict[str, m.UploadReference], escaped: bool
) -> None:
    inner: dict[str, Any] = {"type": name, "data": arguments}
    if request_id is not None:
        inner["request_id"] = request_id
    if uploads:
        inner["uploads"] = {
            key: {"upload_id": u.upload_id, "name": u.name, "mime_type": u.mime_type, "size": u.size_bytes}
            for key, u in uploads.items()
        }
    text = json.dumps({"scope": "application", "data": inner}, ensure_ascii=escaped)
    assert V0().decode("data", text) == m.Command(request_id, name, arguments, uploads)
    assert V0().decode("data", text.encode()) == m.Command(request_id, name, arguments, uploads)


@given(names, objects)
def test_any_broadcast_survives_the_wire(name: str, data: Any) -> None:
    [frame] = V0().encode(m.Broadcast(name, data))
    assert json.loads(frame.payload)["data"] == {"type": name, "data": data}
