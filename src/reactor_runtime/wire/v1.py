"""The protobuf format of the Python client: one message per binary frame, see reactor_wire_v1.proto.

A command is answered exactly once, by its request id: with a message, bare, or with an error. All numbers of
a Struct are doubles, so integral ones become integers again, as a model's integer parameters need them.

The generated module is committed, so that nobody needs a compiler. To make it anew, with the protoc of
grpcio-tools 1.72: `python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. reactor_wire_v1.proto`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from .. import limits
from ..errors import MessageRejected
from ..types import JsonObject
from . import messages as m
from . import reactor_wire_v1_pb2 as pb

#: Integers beyond this are not exact in a double, so a larger one is left as it came.
_EXACT: Final = 2.0**53


class V1:
    """The format, without state; `sniff` hands it out."""

    name = "v1"

    def decode(self, channel: m.Inlet, payload: str | bytes) -> m.ClientMessage:
        """Read one binary frame. Raises only MessageRejected."""
        if isinstance(payload, str):
            raise MessageRejected("a text frame on a connection that speaks protobuf")
        if not 0 < len(payload) <= limits.MESSAGE_MAX_BYTES:
            raise MessageRejected(f"a message has 1 to {limits.MESSAGE_MAX_BYTES} bytes, got {len(payload)}")
        envelope = pb.ControlClientMessage() if channel == "control" else pb.DataClientMessage()
        try:
            envelope.ParseFromString(payload)
        except DecodeError:
            raise MessageRejected("not a message of this channel") from None
        asks = envelope.kind in (pb.MESSAGE_KIND_REQUEST, pb.MESSAGE_KIND_UNSPECIFIED)
        request_id = envelope.request_id or None
        if request_id is not None and len(request_id) > limits.MESSAGE_ID_MAX:
            raise MessageRejected(f"a request_id has at most {limits.MESSAGE_ID_MAX} characters")
        if isinstance(envelope, pb.DataClientMessage):
            if envelope.WhichOneof("payload") == "command":
                return _command(envelope.command, request_id)
        else:
            message = _control(envelope, request_id)
            if message is not None:
                return message
        # Never answer an answer: only a request may be told that it is not supported.
        return m.Unsupported(request_id if asks else None, envelope.WhichOneof("payload") or "unknown")

    def encode(self, message: m.ServerMessage) -> list[m.Outgoing]:
        """Write the frames that say `message`; none where this format cannot.

        Raises MessageRejected for a message that is not JSON or too large for clients to take.
        """
        frame = _envelope(message)
        if frame is None:
            return []
        payload = frame.SerializeToString()
        if len(payload) > limits.MESSAGE_MAX_BYTES:
            raise MessageRejected(
                f"a message to the client may have {limits.MESSAGE_MAX_BYTES} bytes, got {len(payload)}"
            )
        return [m.Outgoing("data" if isinstance(frame, pb.DataServerMessage) else "control", payload)]


def _command(command: pb.Command, request_id: str | None) -> m.Command:
    if not 0 < len(command.type) <= limits.MESSAGE_ID_MAX:
        raise MessageRejected(f"a command without a type of 1 to {limits.MESSAGE_ID_MAX} characters")
    uploads = {name: _upload(upload) for name, upload in command.uploads.items()}
    return m.Command(request_id, command.type, _from_struct(command.data, 1), uploads)


def _control(envelope: pb.ControlClientMessage, request_id: str | None) -> m.ClientMessage | None:
    match envelope.WhichOneof("payload"):
        case "ping":
            return m.Ping()
        case "request_schema":
            return m.RequestSchema(request_id)
        case "file_uploaded":
            return m.FileUploaded(_upload(envelope.file_uploaded))
        case "request_clip":
            duration_s = envelope.request_clip.duration_seconds
            if not math.isfinite(duration_s):
                raise MessageRejected("duration_seconds is not finite")
            return m.RequestClip(request_id, duration_s)
        case "request_recording":
            return m.RequestRecording(request_id)
        case "publish_track":
            return m.PublishTrack(request_id, envelope.publish_track.name)
        case "pause_track":
            return m.PauseTrack(envelope.pause_track.name)
        case "resume_track":
            return m.ResumeTrack(envelope.resume_track.name)
        case "unpublish_track":
            return m.UnpublishTrack(envelope.unpublish_track.name)
    return None


def _upload(upload: pb.UploadReference | pb.FileUploaded) -> m.UploadReference:
    return m.UploadReference(upload.upload_id, upload.name, upload.mime_type, upload.size)


def _envelope(message: m.ServerMessage) -> pb.DataServerMessage | pb.ControlServerMessage | None:
    match message:
        case m.CommandReply():
            return _reply(message)
        case m.CommandRefused(request_id=str(request_id)):
            prefix = f"{message.field}: " if message.field else ""
            text = message.message if message.message.startswith(prefix) else prefix + message.message
            return pb.DataServerMessage(
                request_id=_safe(request_id),
                kind=pb.MESSAGE_KIND_RESPONSE,
                error=pb.Error(code=_safe(message.code), message=_safe(text)),
            )
        case m.Broadcast():
            return pb.DataServerMessage(
                kind=pb.MESSAGE_KIND_NOTIFICATION, message=_model_message(message.type, message.data)
            )
        case m.Schema():
            return _response(
                message.request_id, model_schema=pb.ModelSchema(openapi=_struct(message.openapi))
            )
        case m.ClipReady():
            return _response(message.request_id, clip_ready=_clip(message))
        case m.ClipFailed():
            return _response(message.request_id, clip_failed=pb.ClipFailed(reason=_safe(message.reason)))
        case m.PublishGranted():
            grant = pb.PublishTrackResponse(name=_safe(message.name))
            return _response(message.request_id, publish_track=grant)
        case m.RequestRefused(request_id=str()):
            error = pb.Error(code=_safe(message.code), message=_safe(message.message))
            return _response(message.request_id, error=error)
        case m.Moderation():
            return _notification(
                moderation=pb.Moderation(
                    action=message.action,
                    input_kind=_safe(message.input_kind),
                    command=_safe(message.command),
                    categories=[_safe(category) for category in message.categories],
                    message=_safe(message.message),
                )
            )
        case m.SessionEnded():
            return _notification(session_ended=pb.SessionEnded(reason=_safe(message.reason)))
        case m.RuntimeNotice(code="draining"):
            # The Python client drops errors that answer nothing, and hands a warning on.
            warning = pb.Moderation(action="warn", categories=[message.code], message=_safe(message.message))
            return _notification(moderation=warning)
        case m.RuntimeNotice():
            return _notification(error=pb.Error(code=_safe(message.code), message=_safe(message.message)))
        case m.CommandRefused() | m.RequestRefused():
            return None  # whoever gave no id awaits no answer
        case (
            m.CommandShown()
            | m.PictureSent()
            | m.Capabilities()
            | m.RuntimeStats()
            | m.Values()
            | m.Company()
            | m.Vote()
            | m.RequestDone()
            | m.Wheel()
            | m.Seat()
            | m.People()
            | m.Released()
            | m.Turn()
        ):
            return None  # the format has no words for these


def _reply(reply: m.CommandReply) -> pb.DataServerMessage | None:
    empty = not reply.type and reply.data is None
    if reply.request_id is None and empty:
        return None
    answered = reply.request_id is not None
    frame = pb.DataServerMessage(
        request_id=_safe(reply.request_id or ""),
        kind=pb.MESSAGE_KIND_RESPONSE if answered else pb.MESSAGE_KIND_NOTIFICATION,
    )
    if not empty:
        frame.message.CopyFrom(_model_message(reply.type, reply.data or {}))
    return frame


def _model_message(kind: str, data: JsonObject) -> pb.ModelMessage:
    return pb.ModelMessage(type=_safe(kind), data=_struct(data))


def _clip(ready: m.ClipReady) -> pb.ClipReady:
    return pb.ClipReady(
        session_id=_safe(ready.session_id),
        kind=ready.kind,
        start_marker=ready.start_s,
        end_marker=ready.end_s,
        now_marker=ready.now_s,
        predicted_ready_at_ms=ready.predicted_ready_at_ms,
        playlist_url=_safe(ready.playlist_url),
    )


def _response(request_id: str | None, **payload: Any) -> pb.ControlServerMessage:
    return pb.ControlServerMessage(
        request_id=_safe(request_id or ""), kind=pb.MESSAGE_KIND_RESPONSE, **payload
    )


def _notification(**payload: Any) -> pb.ControlServerMessage:
    return pb.ControlServerMessage(kind=pb.MESSAGE_KIND_NOTIFICATION, **payload)


def _from_struct(struct: Struct, depth: int) -> JsonObject:
    _check_depth(depth)
    return {key: _from_value(value, depth) for key, value in struct.fields.items()}


def _from_value(value: Value, depth: int) -> Any:
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "bool_value":
            return value.bool_value
        case "string_value":
            return value.string_value
        case "number_value":
            return _number(value.number_value)
        case "struct_value":
            return _from_struct(value.struct_value, depth + 1)
        case "list_value":
            _check_depth(depth + 1)
            return [_from_value(item, depth + 1) for item in value.list_value.values]
    raise MessageRejected("a Struct value of no kind")


def _number(number: float) -> int | float:
    if not math.isfinite(number):
        raise MessageRejected("a number that is not finite")
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _struct(data: Mapping[str, Any]) -> Struct:
    struct = Struct()
    _fill(struct, data, 1)
    return struct


def _fill(struct: Struct, data: Mapping[str, Any], depth: int) -> None:
    _check_depth(depth)
    for key, item in data.items():
        if not isinstance(key, str):
            raise MessageRejected("a message to the client is not JSON: a key that is not a text")
        _fill_value(struct.fields[_safe(key)], item, depth)


def _fill_value(value: Value, item: Any, depth: int) -> None:
    match item:
        case None:
            value.null_value = 0  # type: ignore[assignment]  # NULL_VALUE, the enum's only member
        case bool():
            value.bool_value = item
        case int() | float():
            value.number_value = _double(item)
        case str():
            value.string_value = _safe(item)
        case Mapping():
            value.struct_value.SetInParent()
            _fill(value.struct_value, item, depth + 1)
        case list() | tuple():
            value.list_value.SetInParent()
            _fill_list(value.list_value, item, depth + 1)
        case _:
            raise MessageRejected(f"a message to the client is not JSON: a {type(item).__name__}")


def _fill_list(values: ListValue, items: list[Any] | tuple[Any, ...], depth: int) -> None:
    _check_depth(depth)
    for item in items:
        _fill_value(values.values.add(), item, depth)


def _double(number: int | float) -> float:
    try:
        double = float(number)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise MessageRejected("a message to the client is not JSON: a number that no double holds")
    return double


def _check_depth(depth: int) -> None:
    if depth > limits.MESSAGE_MAX_DEPTH:
        raise MessageRejected(f"nested deeper than {limits.MESSAGE_MAX_DEPTH}")


def _safe(text: str) -> str:
    """Replace halves of surrogate pairs, which protobuf cannot carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
