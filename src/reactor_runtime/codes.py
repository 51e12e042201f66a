"""Every code that a client or an operator may meet, once: its text, where it is seen, what it means.

Codes are stable; words beside them are not. Clients match on them, so one is never renamed. The table in
docs/clients.md is written from here (tools/code_table.py), and a test holds server, page and templates to it.
A model's own codes come from its author's `CommandError(code, ...)` and are not listed.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

#: command: the answer to a command or a request on a data channel. notice: said to viewers without being asked.
#: ending: why a session ended. line: why a ticket is gone.
#: http: in the body of a refusal. local: at the terminal and in logs only.
Seen: TypeAlias = Literal["command", "notice", "ending", "line", "http", "local"]


class Meaning(NamedTuple):
    seen: tuple[Seen, ...]
    words: str


CODES: Final[dict[str, Meaning]] = {}


def _code(text: str, words: str, *seen: Seen) -> str:
    CODES[text] = Meaning(seen, words)
    return text


# Answers to commands and requests
INVALID_COMMAND: Final = _code(
    "invalid_command", "unknown command, or arguments outside its schema", "command"
)
RATE_LIMITED: Final = _code("rate_limited", "too many messages or unanswered commands", "command", "notice")
TOO_LARGE: Final = _code("too_large", "the command and its uploads are too large", "command")
UNRESOLVED_UPLOAD: Final = _code(
    "unresolved_upload", "a file that was not uploaded in this session", "command"
)
TIMEOUT: Final = _code("timeout", "the command was not handled in time", "command")
SESSION_ENDED: Final = _code("session_ended", "the session ended before the command was handled", "command")
UNSUPPORTED: Final = _code("unsupported", "a request that this server does not know", "command")
VOTE_CLOSED: Final = _code("vote_closed", "nothing is voted on, or that round of the vote is over", "notice")
NOT_DRIVING: Final = _code(
    "not_driving", "somebody else drives; a watcher's commands do not reach the model", "command", "notice"
)
SEAT_TAKEN: Final = _code(
    "seat_taken", "the driver's seat is taken, or kept for somebody", "command", "notice"
)
PUBLISH_REFUSED: Final = _code("publish_refused", "no such input track, or someone else's", "command")
INTERNAL_ERROR: Final = _code("internal_error", "something broke here; the log says what", "command", "http")

# HTTP
MALFORMED: Final = _code("malformed", "the body is not what the route takes", "http")
UNAUTHORIZED: Final = _code("unauthorized", "the token is missing or wrong", "http")
TOKEN_EXPIRED: Final = _code("token_expired", "the token's time is over", "notice", "http")
TOKEN_NOT_YET: Final = _code("token_not_yet", "the token's time has not begun", "http")
TOKEN_REPLAYED: Final = _code(
    "token_replayed", "the token is one person's, and in use by another connection or spent", "notice", "http"
)
NOT_GRANTED: Final = _code("not_granted", "the token does not allow this", "command", "http")
SESSION_REFUSED: Final = _code("session_refused", "the session is busy, gone or not this one", "http")
LINE_FULL: Final = _code("line_full", "as many wait in the line as may", "http")
CLIP_REFUSED: Final = _code("clip_refused", "a clip or a part of it that is not kept", "http")
OFFER_REJECTED: Final = _code("offer_rejected", "a WebRTC offer or candidate that cannot be used", "http")
MESSAGE_REJECTED: Final = _code("message_rejected", "a message that no wire format explains", "http")
LIMIT_EXCEEDED: Final = _code("limit_exceeded", "too many or too large", "command", "http")
PEER_FAILED: Final = _code("peer_failed", "the WebRTC engine failed for this viewer", "http")

SLOW_CONSUMER: Final = _code(
    "slow_consumer", "the viewer's line takes not even keyframes; its connection was closed", "notice"
)

# The model
MODEL_ERROR: Final = _code("model_error", "the model's code raised", "notice", "ending")
MODEL_CRASHED: Final = _code(
    "model_crashed", "the model's process exited; it is restarted", "notice", "ending"
)
MODEL_HUNG: Final = _code("model_hung", "the model stopped responding; it is restarted", "notice", "ending")
OUT_OF_MEMORY: Final = _code("out_of_memory", "host or GPU memory ran out", "command", "notice", "ending")
INPUT_FRAME_FAILED: Final = _code(
    "input_frame_failed", "the model's `on_frame` raised; the session goes on", "notice"
)

# The session
STOPPED: Final = _code("stopped", "somebody stopped it", "ending")
FINISHED: Final = _code("finished", "the model has no more frames", "ending")
MODERATED: Final = _code("moderated", "the operator ended it", "ending")
KICKED: Final = _code("kicked", "the operator sent this visitor away", "ending")
TIMED_OUT: Final = _code("timed_out", "nobody was connected for a while", "ending")
SERVER_STOPPED: Final = _code("server stopped", "the server was shut down", "ending")
DRAINING: Final = _code("draining", "the server stops soon", "notice")
RECORDING_DISK_FULL: Final = _code("recording_disk_full", "the disk is full: no more is recorded", "notice")
RECORDING_FAILED: Final = _code("recording_failed", "the recording has stopped", "notice")

# Why a ticket of the line is gone
TURN_OVER: Final = _code("turn_over", "the turn is over, and others wait", "line", "command", "ending")
ENDED: Final = _code("ended", "the session ended, or its driver gave the wheel away", "line")
UNHEARD: Final = _code("unheard", "nothing was heard of whoever waited", "line")
UNCLAIMED: Final = _code("unclaimed", "the seat was not claimed in time", "line")
LEFT: Final = _code("left", "the ticket was given back", "line")
LINE_CLOSED: Final = _code("line_closed", "the server stops, or has no seat any more", "line")
FORGOTTEN: Final = _code("forgotten", "a ticket of long ago", "line")

# What an author or an operator meets
ERROR: Final = _code("error", "any error of this package", "local")
REFUSED: Final = _code("refused", "something that cannot be accepted", "local")
MANIFEST_ERROR: Final = _code("manifest_error", "manifest.json, or the class it names", "local")
MODEL_DEFINITION_ERROR: Final = _code("model_definition_error", "a class that cannot be served", "local")
SETTING_ERROR: Final = _code("setting_error", "a flag or an environment variable", "local")
FRAME_REJECTED: Final = _code("frame_rejected", "what was emitted is not a frame", "local")
SCRIPT_REJECTED: Final = _code("script_rejected", "a script for `reactor render`, or its film", "local")
LOG_REJECTED: Final = _code("log_rejected", "a session log that cannot be replayed", "local")
WEIGHTS_MISSING: Final = _code("weights_missing", "weights that no source has", "local")
WEIGHTS_PUBLISHED: Final = _code("weights_published", "a version that exists already", "local")
UNSAFE_WEIGHTS: Final = _code("unsafe_weights", "a file that could run code when it is loaded", "local")
WEIGHTS_CORRUPT: Final = _code("weights_corrupt", "a file that is not what it should be", "local")
STORE_REFUSED: Final = _code("store_refused", "the weights store refuses", "local")
STORE_UNREACHABLE: Final = _code("store_unreachable", "the weights store does not answer", "local")
DISK_FULL: Final = _code("disk_full", "no space for weights", "local")
ENCODER_FAILED: Final = _code("encoder_failed", "the video encoder failed", "local")
