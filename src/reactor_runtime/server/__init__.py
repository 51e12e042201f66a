"""The HTTP surface.

Imports `author` (documents and the manifest), `recording`, `running`, `session`, `session_log`, `webrtc`, `websocket`,
`weights` and `worker`; is imported by `cli` and `cluster`.

runtime.py           all parts of one server, made and closed together
app.py               the application: routes, errors, middleware in order
routes_sessions.py   start, stop, session; signalling
routes_files.py      uploads and clips
routes_media.py      the WebSocket of a viewer
routes_tokens.py     tokens for links that an operator shares
routes_operator.py   health, metrics, events, schema
routes_page.py       the control page and its files
page_bundle.py       its modules as one script; pure
packing.py           its files packed, kept between starts
bodies.py            JSON request bodies
replies.py           how errors look
guards.py            origin, host and body limits, as plain ASGI middleware
token_guard.py       who asks, by the token that is shown
access.py            what each route takes; pure
doors.py             what opens this server: token, keys, what it is without
refusals.py          who was not let in, counted
connection.py        one socket; socket.py, once it is a WebSocket
http_server.py       uvicorn on a socket of ours, without its signal handlers
"""
