"""Random and mutated frames in both formats: a frame is understood or rejected, nothing else ever happens.

20,000 frames by default; REACTOR_FUZZ_FRAMES=1000000 for a long run, REACTOR_FUZZ_SEED to repeat one. A frame
that fails is written out in hex: keep it in tests/data/wire_crashes.txt, one a line, `channel hex`.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from reactor_runtime.errors import MessageRejected
from reactor_runtime.wire import messages as m
from reactor_runtime.wire import reactor_wire_v1_pb2 as pb
from reactor_runtime.wire.sniff import Wire, sniff
from reactor_runtime.wire.v0 import V0
from reactor_runtime.wire.v1 import V1

FRAMES = int(os.environ.get("REACTOR_FUZZ_FRAMES", "20000"))
SEED = int(os.environ.get("REACTOR_FUZZ_SEED", random.randrange(2**32)))
CRASHES = Path(__file__).parent / "data" / "wire_crashes.txt"
CHANNELS: tuple[m.Channel, ...] = ("data", "control")

V0_SEEDS = [
    '{"scope":"runtime","data":{"type":"ping","data":{}}}',
    '{"scope":"runtime","data":{"type":"requestClip","data":{"duration_seconds":5.5}}}',
    '{"scope":"application","data":{"type":"set","request_id":"r1","data":{"x":1,"y":[2.5,"\\u00e4",null,true]}}}',
    '{"scope":"application","data":{"type":"see","data":{},"uploads":{"image":'
    '{"upload_id":"4f1c","name":"cat.png","mime_type":"image/png","size":7}}}}',
    '{"type":"request","method":"publish_track","request_id":"ctrl_1","data":{"name":"webcam"}}',
    '{"type":"notification","event":"resume_track","data":{"name":"main_video"}}',
]
V0_PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    "\\",
    "null",
    "true",
    '"type"',
    '"scope"',
    '"data"',
    '"request_id"',
]
V0_PIECES += ["NaN", "-Infinity", "1e999", "9" * 400, "\\ud800", "\\u0000", "\x00", "\ud800", "😀", " " * 20]
V0_PIECES += ["[" * 50, '{"a":' * 50]


def v1_seeds() -> list[bytes]:
    command = pb.Command(type="set", uploads={"i": pb.UploadReference(upload_id="u", size=-1)})
    command.data.update({"n": 3, "l": [1, {"p": [None, True, "ä"]}], "f": 2.5})
    return [
        bytes.fromhex("10035200"),
        bytes.fromhex("10038a010c0a0a6d61696e5f766964656f"),
        bytes.fromhex("0a066374726c5f3110017a080a0677656263616d"),
        bytes.fromhex("0a06646174615f321001520d0a096765745f73746174651200"),
        pb.DataClientMessage(
            request_id="data_1", kind=pb.MESSAGE_KIND_REQUEST, command=command
        ).SerializeToString(),
        pb.ControlClientMessage(request_clip=pb.RequestClip(duration_seconds=5)).SerializeToString(),
        pb.ControlClientMessage(error=pb.Error(code="c", message="m")).SerializeToString(),
    ]


def mutated_text(rng: random.Random) -> str:
    text = rng.choice(V0_SEEDS)
    for _ in range(rng.randrange(1, 5)):
        i, j = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        match rng.randrange(5):
            case 0:
                text = text[:i] + rng.choice(V0_PIECES) + text[i:]
            case 1:
                text = text[:i] + text[i + 1 :]
            case 2:
                text = text[:i] + text[j:]
            case 3:
                text = text[:j] + text[i:j] + text[j:]
            case _:
                text = text[:i] + chr(rng.randrange(256)) + text[i + 1 :]
        text = text or "{}"
    return text


def mutated_json(rng: random.Random) -> str:
    """Keep it JSON, so that it gets past the parser, and change what it says."""
    root = json.loads(rng.choice(V0_SEEDS))
    for _ in range(rng.randrange(3)):
        inner = root
        while nested := [value for value in inner.values() if isinstance(value, dict) and value]:
            if rng.random() < 0.4:
                break
            inner = rng.choice(nested)
        key = rng.choice([*inner, "data", "uploads", "request_id", "name", "\x00"])
        inner[key] = rng.choice(
            [
                None,
                True,
                0,
                -1,
                10**30,
                1.5,
                "",
                "x",
                "x" * 200,
                [],
                {},
                [[1]],
                {"a": {}},
                "publish_track",
                "😀",
            ]
        )
    return json.dumps(root, ensure_ascii=rng.random() < 0.5)


def mutated_bytes(rng: random.Random, seeds: list[bytes]) -> bytes:
    frame = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(1, 6)):
        i = rng.randrange(len(frame) + 1)
        match rng.randrange(5):
            case 0:
                frame[i:i] = rng.randbytes(rng.randrange(1, 9))
            case 1:
                del frame[i : i + rng.randrange(1, 9)]
            case 2:
                frame[i : i + 1] = bytes([rng.randrange(256)])
            case 3:
                frame += rng.choice(seeds)
            case _:
                frame[i : i + 1] = bytes([frame[i] ^ (1 << rng.randrange(8))]) if i < len(frame) else b"\xff"
    return bytes(frame)


def decode(wire: Wire, channel: m.Channel, frame: str | bytes) -> m.ClientMessage | None:
    """Decode one frame and look hard at what came out; None if it was rejected."""
    try:
        message = wire.decode(channel, frame)
    except MessageRejected as rejected:
        rejected.public().encode()
        return None
    if isinstance(message, m.Command):
        # What the pipe to the model and the log will do with it.
        json.dumps(message.arguments, allow_nan=False).encode()
        json.dumps(message.arguments, allow_nan=False, ensure_ascii=False).encode()
        assert message.name
    for reply in replies(message):
        for outgoing in wire.encode(reply):
            assert outgoing.payload
    return message


def replies(message: m.ClientMessage) -> list[m.ServerMessage]:
    """What a server could answer, with the client's own words in it."""
    match message:
        case m.Command():
            return [
                m.CommandReply(message.request_id, message.name, "echo", {"ok": True}),
                m.CommandRefused(
                    message.request_id, message.name, "invalid_command", message.name, message.name
                ),
            ]
        case m.PublishTrack():
            return [m.PublishGranted(message.request_id, message.name)]
        case m.Unsupported():
            return [m.RequestRefused(message.request_id, message.kind, "unsupported", message.kind)]
    return []


def text_of(frame: str | bytes) -> str:
    return (
        frame.hex()
        if isinstance(frame, bytes)
        else "text:" + frame.encode("utf-16-be", "surrogatepass").hex()
    )


@pytest.mark.slow
@pytest.mark.timeout(max(120, FRAMES // 1_000))
def test_any_frame_is_understood_or_rejected() -> None:
    rng = random.Random(SEED)
    seeds = v1_seeds()
    understood = {"v0": 0, "v1": 0}
    for _ in range(FRAMES):
        frame: str | bytes
        match rng.randrange(7):
            case 0:
                frame = rng.randbytes(rng.randrange(64))
            case 1:
                frame = "".join(rng.choice(V0_PIECES) for _ in range(rng.randrange(12)))
            case 2:
                frame = mutated_text(rng)
            case 3 | 4:
                frame = mutated_json(rng)
            case _:
                frame = mutated_bytes(rng, seeds)
        channel = rng.choice(CHANNELS)
        wires: tuple[Wire, ...] = (V0(), V1())
        try:
            for wire in wires:
                if decode(wire, channel, frame) is not None:
                    understood[wire.name] += 1
            decode(sniff(frame), channel, frame)
        except Exception as error:
            pytest.fail(f"seed {SEED}: {channel} {text_of(frame)} raised {error!r}")
    # A fuzzer whose frames are all rejected at the door tests the door only.
    assert min(understood.values()) > FRAMES // 100, understood


def crashes() -> list[Any]:
    if not CRASHES.exists():
        return []
    return [line.split() for line in CRASHES.read_text().splitlines() if line and not line.startswith("#")]


def test_frames_that_once_failed_do_not_fail_again() -> None:
    for channel, text in crashes():
        encoded = text.removeprefix("text:")
        raw = bytes.fromhex(encoded)
        frame = raw if encoded == text else raw.decode("utf-16-be", "surrogatepass")
        for wire in (V0(), V1()):
            decode(wire, channel, frame)
