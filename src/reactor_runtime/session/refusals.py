"""How a client is told that one of its messages was refused, in the words that its kind of message has. Pure."""

from __future__ import annotations

from ..errors import ReactorError
from ..wire import messages as say


def refusal_of(message: say.ClientMessage, error: ReactorError) -> say.ServerMessage | None:
    """Return the answer; None where the message is one that nobody answers."""
    code, why = error.code, error.public()
    match message:
        case say.Command(request_id, name):
            return say.CommandRefused(request_id, name, code, why)
        case say.PublishTrack(request_id):
            return say.RequestRefused(request_id, "publish_track", code, why)
        case say.WheelAction(request_id) if request_id is not None:
            return say.RequestRefused(request_id, "wheel", code, why)
        case say.Operate(request_id) if request_id is not None:
            return say.RequestRefused(request_id, "operate", code, why)
        case say.WheelAction() | say.Operate() | say.Ballot():
            return say.RuntimeNotice(code, why)
        case say.RequestClip(request_id) | say.RequestRecording(request_id):
            return say.ClipFailed(request_id, why)
    return None
