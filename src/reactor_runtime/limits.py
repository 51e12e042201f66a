"""Every bound of the runtime, with its policy, in one place.

Times are in seconds, sizes in bytes. Those that an operator may change are fields of
`config.Settings`, whose defaults come from here; the rest protect the server and stay fixed.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# Data channel and commands ------------------------------------------------------------------

#: One inbound data channel message. Larger: refused before parsing, the channel stays. It is the
#: ceiling the SDP announces, and it has room for the base64 pictures that published pages send.
MESSAGE_MAX_BYTES: Final = 256 * KIB
#: Deepest nesting of a JSON message. Deeper: refused.
MESSAGE_MAX_DEPTH: Final = 32
#: Longest name of a command. Longer: an error when the model class is made.
COMMAND_NAME_MAX: Final = 64
#: Longest words that an author gives a page: over a control or a group, in one line on the picture, in an empty
#: text field; and how many examples of one argument. More: an error when the model class is made.
SHOWN_LABEL_MAX: Final = 40
SHOWN_LINE_MAX: Final = 120
SHOWN_PLACEHOLDER_MAX: Final = 200
SHOWN_EXAMPLES_MAX: Final = 12
#: Longest id or name in a message, in characters: some are kept until the answer. Longer: refused as unreadable.
MESSAGE_ID_MAX: Final = 128
#: Messages per second and viewer that are read at all, and how many may come at once; one of
#: MESSAGE_COST_BYTES counts as two. More: dropped unread and counted, the viewer is told once a second.
MESSAGE_RATE_PER_S: Final = 200.0
MESSAGE_BURST: Final = 400
MESSAGE_COST_BYTES: Final = 16 * KIB
#: Messages of one viewer that have arrived and that the event loop has not looked at yet; no more are read of what
#: comes at once. More: dropped unread and counted like those beyond the rate.
MESSAGES_WAITING: Final = 512
MESSAGES_WAITING_BYTES: Final = 8 * MIB
#: Commands per second and viewer, and how many may come at once. More: `rate_limited`.
COMMAND_RATE_PER_S: Final = 50.0
COMMAND_BURST: Final = 100
#: Commands accepted but not yet handled, per session, and the JSON of their arguments; the same again for those
#: whose uploads are still on their way. More: refused with `rate_limited`.
COMMAND_MAILBOX: Final = 256
COMMAND_MAILBOX_BYTES: Final = 8 * MIB
#: What is kept of one argument of what a command set last, and of all arguments together, as JSON. Larger, or more:
#: it is named with its size, and not kept.
VALUE_MAX_BYTES: Final = 4 * KIB
VALUES_MAX_BYTES: Final = 48 * KIB
#: Viewers are told of changed values at most this often; what changes between is told with the next.
VALUES_EVERY_S: Final = 0.1
#: Choices of a vote, and voters whose ballots are counted in a round. More: no vote; refused with `rate_limited`.
VOTE_CHOICES_MAX: Final = 32
VOTE_BALLOTS_MAX: Final = 10_000
#: Ballots in a round of one address whose voters have no tokens. More: refused with `rate_limited`.
VOTE_BALLOTS_PER_ADDRESS: Final = 8
#: How long a round of a vote takes from its first ballot on, and how often everybody is told how it stands.
VOTE_S: Final = 15.0
VOTES_EVERY_S: Final = 0.25
#: Words about each other that all viewers of a session are told, per second and at once: a message, or one person in
#: it. More: told later, as it is then. A word takes some thirty microseconds of the event loop.
TOLD_PER_S: Final = 1000.0
TOLD_BURST: Final = 1000
#: How long after a command its sender counts as one who drives.
DRIVES_S: Final = 15.0
#: How long the leave of a client is kept that names no session, and may mean one of several; and how long before it one
#: of them may have been left alone. See session/starters.py.
LEAVE_MEANT_S: Final = 3.0
LEFT_MEANT_S: Final = 1.0
#: How long after a session was ended by others its client's own stop may still come. Later: it is taken for another's.
LATE_STOP_S: Final = 600.0
#: How long the driver's seat is kept for whoever lost his connection, or was promised it. Later: it is free.
SEAT_KEPT_S: Final = 15.0
#: Visitors who ask for the wheel at one time. More: `rate_limited`.
WHEEL_REQUESTS: Final = 32
#: How long a driver who holds keys may be silent, and what may then be done for him. Longer: his keys are let go;
#: more commands: the message is refused as unreadable.
DEADMAN_S: Final = 0.25
DEADMAN_COMMANDS: Final = 4
#: A command's reply is awaited for this long, then answered with `timeout`. Clients wait 10 s.
COMMAND_REPLY_S: Final = 9.0
#: Bytes waiting in one viewer's data channel. More: broadcasts to this viewer are dropped and counted.
CHANNEL_BUFFER_MAX_BYTES: Final = 1 * MIB
#: A JSON message from the model to its clients. Larger: raised at the author's line.
MODEL_MESSAGE_MAX_BYTES: Final = 256 * KIB
#: The name of its type. Longer: raised at the author's line.
MODEL_MESSAGE_TYPE_MAX: Final = 100

#: Different names that a model may report numbers under, per session. More: ignored.
REPORTS_MAX: Final = 64

# Frames --------------------------------------------------------------------------------------

#: Smallest side of an emitted frame, in pixels: no video encoder takes less. Smaller: FrameRejected.
FRAME_MIN_SIDE: Final = 4
#: Largest side of an emitted frame, in pixels. Larger: FrameRejected.
FRAME_MAX_SIDE: Final = 4096
#: Frames the model may be ahead of what is shown, and the shared memory they may take. Full: emit waits.
RING_MAX_FRAMES: Final = 64
RING_MAX_BYTES: Final = 256 * MIB
#: Frames emitted while nobody watches. More: emit waits until someone does.
FRAMES_AHEAD_UNWATCHED: Final = 2
#: Rate ceiling when neither the manifest nor the model names one.
FPS_MAX: Final = 60.0
#: The model may work this far ahead of the picture at most, however slow its blocks are.
LEAD_MAX_S: Final = 2.0
#: Seeds of sessions are at most this: what numpy's global generator takes. Larger: refused.
SEED_MAX: Final = 2**32 - 1

# Pictures inside commands ----------------------------------------------------------------------

#: Largest side of a picture argument, checked on the header before anything is decoded.
IMAGE_MAX_SIDE: Final = 4096
IMAGE_FORMATS: Final = ("PNG", "JPEG", "WEBP")

# HTTP --------------------------------------------------------------------------------------------

#: A request body, counted as it streams in. Larger: 413.
HTTP_BODY_MAX_BYTES: Final = 1 * MIB
#: A request's line and headers. Larger: 400. And how long they may take to arrive, then the socket is closed.
HTTP_HEADER_MAX_BYTES: Final = 16 * KIB
HTTP_HEADER_S: Final = 10.0
#: How long a request body may take; with room for an upload over a slow line. Longer: 408.
HTTP_BODY_S: Final = 60.0
#: Body pieces smaller than this are counted: parsing one costs as much as parsing this many bytes.
HTTP_PIECE_BYTES: Final = 1 * KIB
#: Small pieces of one body. More: 400, and the connection is closed.
HTTP_BODY_PIECES: Final = 4096
#: Small pieces that are parsed for one address, at once and per second. More: they wait unread.
HTTP_WORK_BURST: Final = 4096
HTTP_WORK_PER_S: Final = 4096
#: Files of the page that are kept packed in the user's cache folder, some fifty a release. More: the oldest go.
PACKED_FILES_MAX: Final = 256
#: Requests of one address (a proxy is one), at once and per second; the page loads some fifty files. More: 429,
#: unparsed, after a pause, so that asking again at once gains nothing. And how many of /health are answered beyond
#: them, so that a crowd does not make a probe believe that the server is down.
HTTP_REQUESTS_BURST: Final = 1000
HTTP_REQUESTS_PER_S: Final = 200.0
HTTP_HEALTH_BURST: Final = 100
HTTP_HEALTH_PER_S: Final = 50.0
HTTP_LIMITED_PAUSE_S: Final = 0.25
#: Open sockets, of whomever, and of one address (a proxy is one). More: the oldest that owes its request is
#: closed, else 503. And the places beside them, in which only /health is answered.
HTTP_SOCKETS: Final = 256
HTTP_SOCKETS_PER_ADDRESS: Final = 128
HTTP_SOCKETS_RESERVED: Final = 8
#: How long, and up to how many bytes, the rest of a body is read unparsed once it was answered; then the
#: socket is closed.
HTTP_LINGER_S: Final = 1.0
HTTP_LINGER_BYTES: Final = 16 * MIB
#: A client that takes less than these bytes in this time, while more than 64 KiB wait for it, is cut. And how
#: long sent bytes may go unacknowledged.
HTTP_WRITE_S: Final = 10.0
HTTP_WRITE_MIN_BYTES: Final = 4 * KIB
HTTP_UNACKED_S: Final = 30
#: Readers of /events at one time. More: the oldest of the address with the most is ended. How long one may
#: read before it has to ask again, and the silence after which a comment keeps the line open.
EVENT_STREAMS: Final = 16
EVENT_STREAM_S: Final = 600.0
EVENT_IDLE_S: Final = 15.0
#: Events that /events can still tell. More: oldest dropped.
JOURNAL_EVENTS: Final = 1024
#: One upload, and uploads per session. More: 413, 429.
UPLOAD_MAX_BYTES: Final = 16 * MIB
UPLOADS_PER_SESSION: Final = 32
UPLOADS_MAX_BYTES: Final = 64 * MIB
#: Bytes that the model process has not read yet: what a session may upload, and its commands. More: commands are
#: refused with `rate_limited`.
MODEL_PIPE_MAX_BYTES: Final = UPLOADS_MAX_BYTES + COMMAND_MAILBOX_BYTES
#: How long a command that names an upload waits for its bytes; less than clients wait for its answer.
UPLOAD_WAIT_S: Final = 9.0
#: How long GET sdp_params is held open for an answer. Clients poll six times within 6.2 s.
ANSWER_HOLD_S: Final = 5.0

# Tokens ------------------------------------------------------------------------------------------

#: A token as it is shown. Longer: refused unread.
TOKEN_MAX_BYTES: Final = 2 * KIB
#: A token's words: whom it is for, its own name, its session's, its key's. Longer: refused.
TOKEN_WORD_MAX: Final = 64
#: How long before its time a token is taken, because clocks differ.
TOKEN_EARLY_S: Final = 10.0
#: Shortest secret of a key, in bytes: that of HMAC with SHA-256 (RFC 7518 section 3.2). Shorter: the start fails.
TOKEN_SECRET_MIN_BYTES: Final = 32
#: Keys that are taken at one time: the new one and the one before. More: the start fails.
TOKEN_KEYS: Final = 2
#: How long a token counts that the page makes for a link. Longer: refused; `reactor token create` makes such.
TOKEN_SHARED_S: Final = 30 * 86_400.0
#: Tokens of one person whose use is remembered until they end. More: those that come new are refused.
TOKENS_KNOWN: Final = 10_000
#: An audit log's file. Larger: it is renamed and a new one begun; the one before that goes.
AUDIT_MAX_BYTES: Final = 16 * MIB
#: Refusals a second in an audit log, and how many may come at once. More: counted in the next one's line.
AUDIT_REFUSALS_PER_S: Final = 5.0
AUDIT_REFUSALS_BURST: Final = 50

# WebRTC ------------------------------------------------------------------------------------------

OFFER_MAX_BYTES: Final = 64 * KIB
OFFER_MAX_CANDIDATES: Final = 64
OFFER_MAX_SECTIONS: Final = 8
#: Ports of one remote address that are checked. More candidates of it: left out. With this, an address that
#: never answers gets 64 packets of one connection at most.
CANDIDATE_PORTS: Final = 2
#: Candidates kept for a connection whose offer has not come yet. More: oldest dropped.
EARLY_CANDIDATES: Final = 256
#: How long an answer waits for candidates; an unreachable STUN server costs no more than this.
GATHER_S: Final = 0.15
#: ICE over TCP: the first frame of a stream, which names its peer; larger: not ICE. Streams of one peer (a client
#: tries one for each pair of addresses); more: closed. Bytes of frames that have not ended; more: closed.
ICE_FIRST_FRAME_MAX_BYTES: Final = 1 * KIB
ICE_STREAMS_PER_PEER: Final = 16
ICE_UNREAD_MAX_BYTES: Final = 128 * KIB
#: What the kernel holds for one stream, and what waits behind that. More: packets are lost, as on a full line, which
#: is what congestion control looks for.
ICE_SEND_BUFFER_BYTES: Final = 128 * KIB
ICE_UNSENT_MAX_BYTES: Final = 16 * KIB
#: A peer that is not connected this long after its offer is dropped.
JOIN_S: Final = 15.0
#: Viewers of one session. More: 503.
VIEWERS_MAX: Final = 32
#: Which part of them may be of one address, so that nobody fills a house alone. More: 503.
VIEWERS_SHARE: Final = 0.5
#: Peers of a session that are not connected yet. More: the oldest is dropped if it had JOIN_FAIR_S, else 503.
JOINING_MAX: Final = 16
JOIN_FAIR_S: Final = 2.0
#: WebRTC links of a session that begin in a second, and how many at once; the others wait, up to this long. Longer:
#: 503. Whoever comes first, or comes back, waits for nobody.
JOINS_PER_S: Final = 8.0
JOINS_BURST: Final = 8
JOIN_WAIT_S: Final = 2.0
#: Keyframes of one encoder, per second and at once, whoever asks for them: every viewer is sent each. More: they wait.
KEYFRAMES_PER_S: Final = 2.0
KEYFRAMES_BURST: Final = 2
#: Offers per second of one connection, and how many may come at once: each makes a peer. More: 503.
OFFER_RATE_PER_S: Final = 1.0
OFFER_BURST: Final = 4
#: Offers of one address, at once and per second, and the same again of connections that are registered for them. Half
#: of what comes in (JOINS_PER_S), so that one address keeps nobody out; of an address behind which everybody may be,
#: as that of a proxy which names nobody, a little more than that. More: 503, before the offer is read.
OFFERS_PER_ADDRESS_BURST: Final = 20
OFFERS_PER_ADDRESS_PER_S: Final = 4.0
OFFERS_OF_MANY_PER_S: Final = 10.0
#: Connection ids of a session beyond its viewers, of those who never offered or have left. More: the one that
#: was silent longest is forgotten.
CONNECTIONS_KNOWN: Final = 56
#: A viewer whose connection is interrupted for this long is gone. libwebrtc says so after six to seven seconds in
#: which nothing arrives; so whoever was killed is gone within ten, and a gap of five in the network is survived.
INTERRUPTED_S: Final = 1.0
#: A viewer from whom nothing arrived for this long is gone (clients ping every 5 or 10 s).
PING_TIMEOUT_S: Final = 20.0

# WebSocket ---------------------------------------------------------------------------------------

#: One message of a client, a picture of its camera included. Larger: closed with 1009.
SOCKET_MESSAGE_MAX_BYTES: Final = 512 * KIB
#: Frames of a socket per second that are parsed at all, and how many may come at once; one of SOCKET_COST_BYTES
#: counts as two. More: they wait unread, and so does their sender; one who stays behind this long is closed with 1008.
SOCKET_FRAMES_PER_S: Final = 400.0
SOCKET_FRAMES_BURST: Final = 400
SOCKET_COST_BYTES: Final = 64 * KIB
SOCKET_BEHIND_S: Final = 3.0
#: Fragments of one message. More: closed with 1009.
SOCKET_FRAGMENTS: Final = 64
#: Pings keep proxies from closing a quiet connection, and an unanswered one ends it.
SOCKET_PING_S: Final = 10.0
#: How long a client may take no byte of what it is sent. Longer: it is cut.
SOCKET_WRITE_S: Final = 15.0
#: Encoded pictures of a client that wait for their decoder. More: dropped up to the next keyframe.
INPUTS_WAITING: Final = 8
#: Pixels of such a picture. More: not decoded.
INPUT_MAX_PIXELS: Final = 4096 * 4096

# Sessions and the model process ------------------------------------------------------------------

#: A session nobody is connected to ends after this long, also before the first viewer came.
ORPHAN_S: Final = 30.0
#: Starts that wait while the session before them closes. More: refused as if it were still running.
STARTS_WAITING: Final = 16
#: Who may wait in the line for a seat. More: 503 `line_full`, to come again after LINE_RETRY_S.
LINE: Final = 100
LINE_RETRY_S: Final = 30
#: Who may wait of one address, or with one person's token, so that nobody fills the line alone. More: the same.
LINE_PER_ADDRESS: Final = 8
#: A place in the line is kept for this long without a word of its owner. Longer: it is given up.
PLACE_KEPT_S: Final = 60.0
#: How long a seat is kept for the one who is next. Not claimed: it goes on to the one after.
CLAIM_S: Final = 20.0
#: How often whoever asks after its ticket should ask; and whoever listens to it is told at least this often.
LINE_POLL_S: Final = 2.0
LINE_TOLD_S: Final = 5.0
#: Who may listen to a ticket's events at one time, and to one ticket. More: 503, ask instead; the older one is ended.
LINE_LISTENERS: Final = 64
#: Tickets that are gone and of which it is still known why. More: oldest forgotten.
TICKETS_REMEMBERED: Final = 256
#: How long before its end a driver is warned that the turn ends.
TURN_WARNING_S: Final = 15.0
#: How long a start waits in the line at most, whatever its client prefers.
START_WAITS_S: Final = 600.0
#: A session's model that neither emits nor waits for this long is hung, and is killed.
HANG_S: Final = 10.0
#: The same before the first frame of a session, which may compile.
FIRST_FRAME_S: Final = 300.0
#: How long __init__ may take.
LOAD_S: Final = 1800.0
#: How long start_session may take to end once it was told to; then the process is killed.
STOP_S: Final = 5.0
#: Models whose memory is remembered for `reactor doctor`. More: the one that was loaded the longest ago is forgotten.
FOOTPRINTS: Final = 64
#: Model slots of one server, each a model process. More: the setting is refused.
SLOTS_MAX: Final = 64
#: Restarts of a slot's model process within RESTART_WINDOW_S; one more and it is out of service, and with the last
#: slot the runtime gives up.
RESTARTS: Final = 3
RESTART_WINDOW_S: Final = 600.0
#: Pauses before the first, second and third restart.
RESTART_BACKOFF_S: Final = (1.0, 4.0, 16.0)
#: How long running sessions may go on after the first Ctrl-C or SIGTERM.
DRAIN_S: Final = 60.0

# Recording -----------------------------------------------------------------------------------------

#: Length of a segment: how long a client waits for a clip's end at most, and how far a clip may begin too early.
RECORDING_CHUNK_S: Final = 4
#: Pictures that wait for the recording's encoder, and their bytes: more than one of the largest, which is kept
#: whatever its size. More: oldest dropped and counted.
RECORDING_PICTURES: Final = 8
RECORDING_PICTURES_BYTES: Final = 64 * MIB
#: Longest clip of the last seconds. Longer: shortened.
CLIP_MAX_S: Final = 300.0
#: How long a recorded segment is kept, and the space that all of them may take. More: oldest removed.
RECORDING_KEEP_S: Final = 3600.0
RECORDING_MAX_MB: Final = 2048

# Weights -------------------------------------------------------------------------------------------

#: Requests to the store at one time, of one download or upload. More files than that wait.
WEIGHTS_CONNECTIONS: Final = 8
#: Largest piece of a file that one request asks for; a cut request goes on where it was cut.
WEIGHTS_PIECE_BYTES: Final = 32 * MIB
#: Opening a connection to the store. Longer: tried again.
WEIGHTS_CONNECT_S: Final = 5.0
#: Silence on a connection, or this long below the least rate: abandoned and tried again.
WEIGHTS_STALL_S: Final = 10.0
WEIGHTS_MIN_BYTES_PER_S: Final = 1 * KIB
#: Nothing at all arrived for this long, on any connection: the download gives up and can be resumed.
WEIGHTS_GIVE_UP_S: Final = 120.0
#: First and longest pause between two tries; each is a random part of its ceiling.
WEIGHTS_BACKOFF_FIRST_S: Final = 0.2
WEIGHTS_BACKOFF_MAX_S: Final = 10.0
#: How long a start with everything cached waits to hear of a newer version.
WEIGHTS_NEWER_S: Final = 0.8
#: Free space asked for beyond what is missing, as a fraction of it.
WEIGHTS_SPACE_MARGIN: Final = 0.05
#: An index, and the files it may list. Larger: refused.
WEIGHTS_INDEX_MAX_BYTES: Final = 16 * MIB
WEIGHTS_FILES_MAX: Final = 50_000
#: Waiting for another process that downloads the same. Longer: an error that names the lock.
WEIGHTS_LOCK_S: Final = 6 * 3600.0
#: An unfinished download of another machine that nobody touched for this long has lost its owner.
WEIGHTS_ORPHAN_S: Final = 120.0
#: How long a damaged file is kept for inspection. Older: removed at the next download or gc.
WEIGHTS_QUARANTINE_S: Final = 7 * 86400.0
#: Largest header of a safetensors file; the format's own ceiling. Larger: refused before it is parsed.
SAFETENSORS_HEADER_MAX_BYTES: Final = 100_000_000

# Logs ----------------------------------------------------------------------------------------------

#: One session's log, in a file. Larger: it ends there with a warning, and the session goes on.
SESSION_LOG_MAX_BYTES: Final = 256 * MIB
#: The same where logs go into no file: the log of one session, in memory, until the next one begins.
SESSION_LOG_MEMORY_BYTES: Final = 16 * MIB

#: A handler of a generator holds up the picture while it runs. One that takes longer is told of, once.
SLOW_COMMAND_S: Final = 1.0

#: A line of the model's output; longer ones are cut. And lines per second; more are counted.
LOG_LINE_MAX: Final = 2000
#: A record of the model's log, traceback and all; longer ones are cut.
LOG_RECORD_MAX: Final = 20_000
LOG_LINES_PER_S: Final = 100
