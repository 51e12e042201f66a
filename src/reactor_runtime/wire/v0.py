"""The JSON text format of the JavaScript clients.

Data channel, both ways: `{"scope": "application" | "runtime", "data": {"type": ..., "data": {...}}}`, where
`application` is between the client and the model. Control channel: requests, responses, notifications.

The format has no request ids on the data channel, so nothing there is acknowledged. We add, and published
clients ignore: a command may carry `request_id` beside its `type`; then it is answered with the runtime
messages `commandReceipt` and, once its effect has left for this viewer, `commandShown`. `notice`, `stats`,
`pictureSent`, `values`, `company`, `wheel`, `seat`, `people`, `deadman` and `vote` are ours as well, and so are the
control requests `wheel` and `operate`.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeVar, get_args

from .. import limits
from ..errors import MessageRejected
from ..strict_json import dump, parse_object
from ..types import JsonObject
from . import messages as m

_Verb = TypeVar("_Verb", bound=str)


class V0:
    """The format, without state; `sniff` hands it out."""

    name = "v0"

    def decode(self, channel: m.Inlet, payload: str | bytes) -> m.ClientMessage:
        """Read one frame, text or the same in bytes. Raises only MessageRejected."""
        envelope = parse_object(payload)
        # Only what is on the data channel has a scope.
        control = channel == "control" or (channel == "one" and "scope" not in envelope)
        return _control(envelope) if control else _data(envelope)

    def encode(self, message: m.ServerMessage) -> list[m.Outgoing]:
        """Write the frames that say `message`; none where this format cannot.

        Raises MessageRejected for a message that is not JSON or too large for clients to take.
        """
        match message:
            case m.CommandReply():
                return _reply(message)
            case m.CommandRefused(request_id=str()):
                receipt = {
                    "request_id": message.request_id,
                    "command": message.command,
                    "accepted": False,
                    "code": message.code,
                    "message": message.message,
                }
                return [
                    _runtime("commandReceipt", receipt | ({"field": message.field} if message.field else {}))
                ]
            case m.CommandRefused():
                return []
            case m.CommandShown():
                shown: JsonObject = {
                    "request_id": message.request_id,
                    "command": message.command,
                    "frame_id": message.frame_id,
                }
                if message.times:
                    shown["times"] = dict(message.times)
                return [_runtime("commandShown", {**shown, **message.received_as})]
            case m.PictureSent():
                sent: JsonObject = {"track": message.track, "frame_id": message.frame_id}
                sent["rendition"] = message.rendition
                times = {"times": dict(message.times)}
                return [_runtime("pictureSent", {**sent, **message.received_as, **times})]
            case m.Broadcast():
                return [_application(message.type, message.data)]
            case m.Schema():
                return [_runtime("modelSchema", message.openapi)]
            case m.Capabilities():
                return [_runtime("modelCapabilities", message.capabilities)]
            case m.ClipReady():
                return [_runtime("clipReady", _clip(message))]
            case m.ClipFailed():
                return [_runtime("clipFailed", {"reason": message.reason})]
            case m.PublishGranted():
                return _response("publish_track", message.request_id, {"data": {}})
            case m.RequestDone():
                return _response(message.method, message.request_id, {"data": {}})
            case m.RequestRefused():
                error = {"code": message.code, "message": message.message}
                return _response(message.method, message.request_id, {"error": error})
            case m.Moderation():
                moderation = {
                    "action": message.action,
                    "input_kind": message.input_kind,
                    "command": message.command,
                    "categories": list(message.categories),
                    "message": message.message,
                }
                return [_runtime("moderation", moderation)]
            case m.SessionEnded():
                return [_runtime("sessionEnded", {"reason": message.reason})]
            case m.RuntimeNotice():
                notice: JsonObject = {"code": message.code, "message": message.message}
                return [_runtime("notice", notice | ({"detail": message.detail} if message.detail else {}))]
            case m.RuntimeStats():
                return [_runtime("stats", message.values)]
            case m.Values():
                reset: JsonObject = {"reset": True} if message.reset else {}
                return [_runtime("values", {"commands": message.commands, **reset})]
            case m.Company():
                company: JsonObject = {"viewers": message.viewers, "drivers": message.drivers}
                return [_runtime("company", {**company, "driving": message.driving})]
            case m.Vote():
                return [_runtime("vote", _vote(message))]
            case m.Wheel():
                return [_runtime("wheel", _wheel(message))]
            case m.Seat():
                return [_runtime("seat", {"seat": message.key})]
            case m.People():
                return [_runtime("people", {"people": [_person(person) for person in message.people]})]
            case m.Released():
                return [_runtime("deadman", {"released": list(message.commands)})]
            case m.Turn():
                turn: JsonObject = {"ends_in_s": message.ends_in_s, "waiting": message.waiting}
                return [_runtime("turn", {**turn, "over": message.over, "reason": message.reason})]


def _data(envelope: JsonObject) -> m.ClientMessage:
    scope = envelope.get("scope")
    inner = _object(envelope, "data")
    if scope == "application":
        return _command(inner)
    if scope == "runtime":
        return _platform(_text(inner, "type"), inner)
    raise MessageRejected("no scope that is known: application or runtime")


def _command(inner: JsonObject) -> m.Command:
    uploads = {name: _upload(value) for name, value in _object(inner, "uploads").items()}
    return m.Command(
        request_id=_request_id(inner),
        name=_text(inner, "type"),
        arguments=_object(inner, "data"),
        uploads=uploads,
    )


def _platform(kind: str, inner: JsonObject) -> m.ClientMessage:
    match kind:
        case "ping":
            return m.Ping()
        case "requestSchema":
            return m.RequestSchema()
        case "requestCapabilities":
            return m.RequestCapabilities()
        case "fileUploaded":
            return m.FileUploaded(_upload(inner.get("data")))
        case "requestClip":
            return m.RequestClip(None, _seconds(_object(inner, "data").get("duration_seconds")))
        case "requestRecording":
            return m.RequestRecording(None)
        case "vote":
            ballot = _object(inner, "data")
            return m.Ballot(_number(ballot, "round"), _text(ballot, "choice"))
        case "deadman":
            return _arm(_object(inner, "data"))
        case "beat":
            return m.Beat()
        case "wheel" | "operate":
            return _asked(kind, None, _object(inner, "data"))
    return m.Unsupported(None, kind)


def _arm(data: JsonObject) -> m.Arm:
    release = data.get("release")
    if not isinstance(release, list) or len(release) > limits.DEADMAN_COMMANDS:
        raise MessageRejected(f'"release" is a list of at most {limits.DEADMAN_COMMANDS} commands')
    if not all(isinstance(each, dict) for each in release):
        raise MessageRejected('"release" has something that is not a command')
    return m.Arm(tuple(m.Command(None, _text(each, "command"), _object(each, "data")) for each in release))


def _asked(method: str, request_id: str | None, data: JsonObject) -> m.WheelAction | m.Operate:
    action, to = _text(data, "action"), data.get("to", data.get("id"))
    if to is not None and (isinstance(to, bool) or not isinstance(to, int)):
        raise MessageRejected('"to" is not a visitor\'s number')
    if method == "operate":
        operator = _one_of(action, _OPERATORS)
        return m.Operate(request_id, operator, to, _optional(data, "reason"))
    return m.WheelAction(request_id, _one_of(action, _WHEEL), to, _optional(data, "seat"))


_WHEEL: Final[tuple[m.WheelVerb, ...]] = get_args(m.WheelVerb)
_OPERATORS: Final[tuple[m.OperatorVerb, ...]] = get_args(m.OperatorVerb)


def _one_of(action: str, known: tuple[_Verb, ...]) -> _Verb:
    for each in known:
        if action == each:
            return each
    raise MessageRejected(f'"action" is one of {", ".join(known)}')


def _optional(parent: JsonObject, key: str) -> str:
    return _text(parent, key) if parent.get(key) else ""


def _control(envelope: JsonObject) -> m.ClientMessage:
    kind = envelope.get("type")
    if kind == "request":
        method = _text(envelope, "method")
        request_id = _request_id(envelope)
        if method == "publish_track":
            return m.PublishTrack(request_id, _text(_object(envelope, "data"), "name"))
        if method in ("wheel", "operate"):
            return _asked(method, request_id, _object(envelope, "data"))
        return m.Unsupported(request_id, method)
    if kind == "notification":
        event = _text(envelope, "event")
        verb = _VERBS.get(event)
        if verb is not None:
            return verb(_text(_object(envelope, "data"), "name"))
        return m.Unsupported(None, event)
    if kind == "response":
        return m.Unsupported(None, "response")
    raise MessageRejected("a control message is a request, a response or a notification")


_VERBS: Final[dict[str, type[m.PauseTrack | m.ResumeTrack | m.UnpublishTrack]]] = {
    "pause_track": m.PauseTrack,
    "resume_track": m.ResumeTrack,
    "unpublish_track": m.UnpublishTrack,
}


def _object(parent: JsonObject, key: str) -> JsonObject:
    """Return a nested object; absent or null counts as empty."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MessageRejected(f'"{key}" is not an object')
    return value


def _text(parent: JsonObject, key: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not value or len(value) > limits.MESSAGE_ID_MAX:
        raise MessageRejected(f'"{key}" is not a text of 1 to {limits.MESSAGE_ID_MAX} characters')
    return value


def _number(parent: JsonObject, key: str) -> int:
    value = parent.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise MessageRejected(f'"{key}" is not a whole number')
    return value


def _request_id(parent: JsonObject) -> str | None:
    return None if parent.get("request_id") is None else _text(parent, "request_id")


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MessageRejected('"duration_seconds" is not a number')
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise MessageRejected('"duration_seconds" is too large')
    return seconds


def _upload(value: Any) -> m.UploadReference:
    if not isinstance(value, dict):
        raise MessageRejected("an upload reference is not an object")
    size = value.get("size", 0)
    if isinstance(size, bool) or not isinstance(size, int):
        raise MessageRejected('"size" of an upload reference is not an integer')
    name, mime_type = value.get("name", ""), value.get("mime_type", "")
    if not isinstance(name, str) or not isinstance(mime_type, str):
        raise MessageRejected('"name" and "mime_type" of an upload reference are texts')
    return m.UploadReference(_text(value, "upload_id"), name, mime_type, size)


def _reply(reply: m.CommandReply) -> list[m.Outgoing]:
    payload = _payload(reply)
    frames: list[m.Outgoing] = []
    if reply.request_id is not None:
        receipt = {"request_id": reply.request_id, "command": reply.command, "accepted": True}
        frames.append(_runtime("commandReceipt", receipt | ({"reply": payload} if payload else {})))
    if payload:
        frames.append(_frame("application", payload))
    return frames


def _payload(reply: m.CommandReply) -> JsonObject | None:
    if not reply.type and reply.data is None:
        return None
    return {"type": reply.type, "data": reply.data or {}}


def _clip(ready: m.ClipReady) -> JsonObject:
    return {
        "session_id": ready.session_id,
        "kind": ready.kind,
        "start_marker": ready.start_s,
        "end_marker": ready.end_s,
        "now_marker": ready.now_s,
        "predicted_ready_at_ms": ready.predicted_ready_at_ms,
        "playlist_url": ready.playlist_url,
    }


def _vote(vote: m.Vote) -> JsonObject:
    said: JsonObject = {
        "round": vote.round,
        "command": vote.command,
        "parameter": vote.parameter,
        "title": vote.title,
        "choices": list(vote.counts),
        "counts": dict(vote.counts),
        "ends_in_s": vote.ends_in_s,
        "yours": vote.yours,
        "result": vote.result,
    }
    if vote.receipt is not None:
        receipt: JsonObject = {"by": "vote", "counts": dict(vote.counts), "accepted": vote.receipt.accepted}
        if not vote.receipt.accepted:
            receipt |= {"code": vote.receipt.code, "message": vote.receipt.message}
        said["receipt"] = receipt
    return said


def _wheel(wheel: m.Wheel) -> JsonObject:
    return {
        "you": wheel.you,
        "driver": _visitor(wheel.driver) if wheel.driver is not None else None,
        "kept_s": wheel.kept_s,
        "may": list(wheel.may),
        "requests": [_visitor(each) for each in wheel.requests],
    }


def _visitor(visitor: m.Visitor | m.Person) -> JsonObject:
    return {"id": visitor.number, "name": visitor.name}


def _person(person: m.Person) -> JsonObject:
    known: JsonObject = {"connection_id": person.connection_id, "role": person.role}
    return _visitor(person) | known | ({"sub": person.sub} if person.sub else {})


def _application(kind: str, data: JsonObject) -> m.Outgoing:
    return _frame("application", {"type": kind, "data": data})


def _runtime(kind: str, data: JsonObject) -> m.Outgoing:
    return _frame("runtime", {"type": kind, "data": data})


def _frame(scope: str, inner: JsonObject) -> m.Outgoing:
    return m.Outgoing("data", dump({"scope": scope, "data": inner}))


def _response(method: str, request_id: str | None, body: JsonObject) -> list[m.Outgoing]:
    if request_id is None:
        return []
    head = {"type": "response", "method": method, "request_id": request_id}
    return [m.Outgoing("control", dump(head | body))]
