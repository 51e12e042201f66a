"""What client and server can say to each other on the data channels, in either format.

`request_id` is None where the format or the sender gave none; then nothing is answered except
where the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..types import JsonObject
from .people import Ballot as Ballot
from .people import Beat as Beat
from .people import Company as Company
from .people import Operate as Operate
from .people import OperatorVerb as OperatorVerb
from .people import People as People
from .people import Person as Person
from .people import Released as Released
from .people import Seat as Seat
from .people import Turn as Turn
from .people import Visitor as Visitor
from .people import Vote as Vote
from .people import VoteReceipt as VoteReceipt
from .people import Wheel as Wheel
from .people import WheelAction as WheelAction
from .people import WheelVerb as WheelVerb

# Client to server ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UploadReference:
    upload_id: str
    name: str
    mime_type: str
    size_bytes: int

    def as_json(self) -> JsonObject:
        """Return it as a client writes it inside a command's arguments."""
        return {
            "upload_id": self.upload_id,
            "name": self.name,
            "mime_type": self.mime_type,
            "size": self.size_bytes,
        }


@dataclass(frozen=True, slots=True)
class Command:
    request_id: str | None
    name: str
    arguments: JsonObject
    uploads: Mapping[str, UploadReference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ping:
    """Keeps the connection alive; never answered."""


@dataclass(frozen=True, slots=True)
class RequestSchema:
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestCapabilities:
    """The legacy question of JS 2.9.0's controller widget."""


@dataclass(frozen=True, slots=True)
class FileUploaded:
    upload: UploadReference


@dataclass(frozen=True, slots=True)
class RequestClip:
    request_id: str | None
    duration_s: float


@dataclass(frozen=True, slots=True)
class RequestRecording:
    request_id: str | None


@dataclass(frozen=True, slots=True)
class PublishTrack:
    request_id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class UnpublishTrack:
    name: str


@dataclass(frozen=True, slots=True)
class PauseTrack:
    name: str


@dataclass(frozen=True, slots=True)
class ResumeTrack:
    name: str


@dataclass(frozen=True, slots=True)
class Arm:
    """What to do for a driver who is not heard any more; nothing disarms. v0 only."""

    release: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A well-formed message of a kind we do not serve. Answered with an error if it has an id."""

    request_id: str | None
    kind: str


ClientMessage: TypeAlias = (
    Command
    | Ping
    | RequestSchema
    | RequestCapabilities
    | FileUploaded
    | RequestClip
    | RequestRecording
    | PublishTrack
    | UnpublishTrack
    | PauseTrack
    | ResumeTrack
    | Ballot
    | WheelAction
    | Arm
    | Beat
    | Operate
    | Unsupported
)

# Server to client ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandReply:
    """The handler returned. `type` and `data` are empty for a plain acknowledgement."""

    request_id: str | None
    command: str
    type: str = ""
    data: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """`raised` is what the handler raised: a viewer says it in place of `message` where it speaks to the author.

    The formats have no word for it, so nobody else can be told.
    """

    request_id: str | None
    command: str
    code: str
    message: str
    field: str = ""
    raised: str = ""


@dataclass(frozen=True, slots=True)
class CommandShown:
    """The first frame that saw the command was sent. v0 only, for commands that carried an id.

    `received_as` is how the receiver knows that frame where it does not see the id, so that a page can tell when
    it is displayed: over WebRTC its `rtp_timestamp`.
    """

    request_id: str
    command: str
    frame_id: int
    received_as: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    """When the command was passed on and when the frame was where, see `session.times`."""


@dataclass(frozen=True, slots=True)
class PictureSent:
    """When one frame was where, and what the clock shows now; about twice a second. v0 only."""

    track: str
    frame_id: int
    received_as: Mapping[str, int]
    times: Mapping[str, float]
    rendition: Literal["full", "low"] = "full"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A message of the model."""

    type: str
    data: JsonObject


@dataclass(frozen=True, slots=True)
class Schema:
    """The OpenAPI document, in reply to RequestSchema."""

    request_id: str | None
    openapi: JsonObject


@dataclass(frozen=True, slots=True)
class Capabilities:
    capabilities: JsonObject


@dataclass(frozen=True, slots=True)
class ClipReady:
    request_id: str | None
    session_id: str
    kind: Literal["snap", "recording"]
    start_s: float
    end_s: float
    now_s: float
    predicted_ready_at_ms: int
    playlist_url: str


@dataclass(frozen=True, slots=True)
class ClipFailed:
    request_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class PublishGranted:
    request_id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class RequestDone:
    """A control request that has nothing to say was done. v0 only."""

    request_id: str | None
    method: str


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A control request (publish, wheel, operate, unknown) was refused."""

    request_id: str | None
    method: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Moderation:
    action: Literal["warn", "terminate"]
    message: str
    input_kind: str = ""
    command: str = ""
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionEnded:
    reason: str


@dataclass(frozen=True, slots=True)
class RuntimeNotice:
    """Something went wrong or changed that viewers should know: `code` is stable, `message` for people.

    `detail` is for the model's author alone: a viewer passes it on only where it knows that it speaks to them.

    v0: a runtime message of type `notice`, which published clients ignore. v1: an uncorrelated error, without
    `detail`.
    """

    code: str
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeStats:
    """Numbers for the page's overlay, about once a second. v0 only."""

    values: JsonObject


@dataclass(frozen=True, slots=True)
class Values:
    """What commands have last set, by their names: those that changed, or all of them for a newcomer.

    Each is {"values": {parameter: value}}. Files, pictures and what is too large to be kept are in "named" beside it:
    {parameter: {"kind": "upload", "name", "mime_type", "size"} or {"kind": "inline", "size"}}, sizes in bytes.
    `reset`: because the model was reset. v0 only.
    """

    commands: JsonObject
    reset: bool = False


ServerMessage: TypeAlias = (
    CommandReply
    | CommandRefused
    | CommandShown
    | PictureSent
    | Broadcast
    | Schema
    | Capabilities
    | ClipReady
    | ClipFailed
    | PublishGranted
    | RequestDone
    | RequestRefused
    | Moderation
    | SessionEnded
    | RuntimeNotice
    | RuntimeStats
    | Values
    | Company
    | Vote
    | Wheel
    | Seat
    | People
    | Released
    | Turn
)

Channel: TypeAlias = Literal["data", "control"]
#: What a message came on: one of the two, or the only one of a link that has no more.
Inlet: TypeAlias = Literal["data", "control", "one"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One frame to put on one channel: text for v0, binary for v1."""

    channel: Channel
    payload: str | bytes
