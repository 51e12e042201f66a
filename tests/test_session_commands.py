"""Commands and uploads of a session, from a real client to the handler and back, in both wire formats."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.served import MODEL, metrics, served, until_state
from support.visitor import Refused, Visitor, watching

from reactor_runtime import limits
from reactor_runtime.server.runtime import Runtime

pytestmark = pytest.mark.slow


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with served(tmp_path, MODEL) as made:
        yield made


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with served(tmp_path, MODEL, join="drive") as made:
        yield made


@pytest.fixture(autouse=True)
def no_errors_in_the_log(caplog: pytest.LogCaptureFixture) -> Any:
    """What nobody handles ends there: failed tasks, callbacks that raised, errors that nobody retrieved."""
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


# Commands -----------------------------------------------------------------------------------------------


async def test_a_command_has_a_receipt_and_is_shown_with_the_frame_that_saw_it(runtime: Runtime) -> None:
    async with watching(runtime.url) as visitor:
        for number in range(5):
            await visitor.ask("note", number=number)
        shown = visitor.heard("commandShown")
        await visitor.until(lambda: len(visitor.heard("commandShown")) == 5)
        shown = visitor.heard("commandShown")
        receipts = visitor.heard("commandReceipt")
        assert [s["request_id"] for s in shown] == [r["request_id"] for r in receipts]
        ids = [s["frame_id"] for s in shown]
        assert ids == sorted(ids)
        assert all(isinstance(s["rtp_timestamp"], int) for s in shown)
        assert receipts[0]["accepted"]
        assert receipts[0]["reply"]["data"] == {"order": [0]}


@pytest.mark.parametrize("wire", ["v0", "v1"])
@pytest.mark.parametrize(
    ("command", "arguments", "code", "text"),
    [
        ("unheard_of", {}, "invalid_command", "unknown command"),
        ("note", {}, "invalid_command", "number"),
        ("note", {"number": 2000}, "invalid_command", "number"),
        ("note", {"number": "x"}, "invalid_command", "number"),
        ("note", {"number": 1, "extra": 1}, "invalid_command", "unexpected argument"),
        ("refuse", {}, "too_dark", "not enough light"),
        ("boom", {}, "internal_error", "the command failed"),
        ("nothing_fits", {}, "internal_error", "the command failed"),
    ],
)
async def test_a_refused_command_is_answered_with_its_code_and_reason(
    runtime: Runtime, wire: Any, command: str, arguments: dict[str, Any], code: str, text: str
) -> None:
    async with watching(runtime.url, wire=wire) as visitor:
        with pytest.raises(Refused) as refused:
            await visitor.ask(command, **arguments)
        assert refused.value.code == code
        assert text in f"{refused.value.field}: {refused.value.message}"
        assert "secret" not in str(visitor.raw)
        await visitor.ask("note", number=1)
        await visitor.see(2)


async def test_a_reply_that_a_viewers_format_cannot_carry_is_refused_in_words(shared: Runtime) -> None:
    async with watching(shared.url, wire="v1") as roomy, Visitor(shared.url) as narrow:
        await narrow.adopt()
        await narrow.watch()
        assert len((await roomy.ask("brink"))["text"]) == 262_040
        with pytest.raises(Refused, match="its reply cannot be sent"):
            await narrow.ask("brink")
        await narrow.see(3)


async def test_commands_run_in_the_order_in_which_they_were_sent(runtime: Runtime) -> None:
    async with watching(runtime.url) as visitor:
        replies = [visitor.tell("note", number=number) for number in range(80)]
        last = [await reply for reply in replies][-1]
        assert last == {"order": list(range(80))}


async def test_commands_over_the_rate_are_refused_and_nothing_else_suffers(shared: Runtime) -> None:
    async with watching(shared.url) as greedy, Visitor(shared.url) as honest:
        await honest.adopt()
        await honest.watch(3)
        frames, began_s = honest.frames, time.monotonic()
        replies = [greedy.tell("note", number=1) for _ in range(300)]
        answers = await asyncio.wait_for(asyncio.gather(*replies, return_exceptions=True), 20)
        codes = {answer.code for answer in answers if isinstance(answer, Refused)}
        assert codes == {"rate_limited"}
        accepted = sum(isinstance(answer, dict) for answer in answers)
        took_s = time.monotonic() - began_s
        assert (
            limits.COMMAND_BURST <= accepted <= limits.COMMAND_BURST + limits.COMMAND_RATE_PER_S * took_s + 1
        )
        asked_s = time.monotonic()
        await honest.ask("note", number=2)
        assert time.monotonic() - asked_s < 0.5
        await honest.see(5)
        rate = (honest.frames - frames) / (time.monotonic() - began_s)
        print(f"{rate:.1f} frames/s while flooded")
        counts = await metrics(shared)
        assert counts["reactor_messages_limited_total"] == 300 - accepted


async def test_a_flood_is_dropped_unread_and_said_so_once_a_second(runtime: Runtime) -> None:
    async with watching(runtime.url) as flooder:
        for _ in range(2000):
            flooder.send("data", '{"scope":"runtime","data":{"type":"requestSchema","data":{}}}')
        await flooder.hear("notice")
        assert flooder.heard("notice")[0]["code"] == "rate_limited"
        await flooder.until(lambda: flooder.heard("modelSchema"))
        async with asyncio.timeout(20):
            while (await metrics(runtime))["reactor_messages_limited_total"] <= 500:
                await asyncio.sleep(0.05)
        assert len(flooder.heard("notice")) <= 5
        await asyncio.sleep(0.5)
        await flooder.ask("note", number=1)


async def test_messages_that_nobody_can_read_are_dropped_and_the_connection_stays(runtime: Runtime) -> None:
    async with watching(runtime.url) as visitor:
        for payload in (
            "",
            "{",
            "[]",
            '{"scope": "application"}',
            b"\xff\xfe",
        ):
            visitor.send("data", payload)
        big = {"scope": "application", "data": {"type": "shout", "data": {"text": "x" * 250_000}}}
        visitor.send("data", json.dumps(big))
        # Pydantic would take it: it is the mailman who does not.
        await visitor.ask("note", number=1)
        await visitor.see(2)
        assert (await metrics(runtime))["reactor_messages_rejected_total"] >= 4


async def test_the_schema_and_the_capabilities_are_sent_on_request(runtime: Runtime) -> None:
    async with watching(runtime.url) as visitor:
        for question in ("requestSchema", "requestCapabilities"):
            visitor.send("data", json.dumps({"scope": "runtime", "data": {"type": question, "data": {}}}))
        schema = await visitor.hear("modelSchema")
        assert schema["paths"]["/events/note"]["post"]["operationId"] == "note"
        capabilities = await visitor.hear("modelCapabilities")
        assert "note" in [command["name"] for command in capabilities["commands"]]


# Uploads ------------------------------------------------------------------------------------------------

#: 1x1, white.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
)


async def reserve(visitor: Visitor) -> tuple[dict[str, Any], str]:
    """Reserve an upload of PNG's size; return the reference and the URL to send it to."""
    answer = await visitor.http.post(
        f"/sessions/{visitor.session_id}/uploads",
        json={"name": "dot.png", "size": len(PNG), "mime_type": "image/png"},
    )
    reserved = answer.json()
    reference = {
        "upload_id": reserved["presigned_id"],
        "name": "dot.png",
        "mime_type": "image/png",
        "size": len(PNG),
    }
    return reference, reserved["presigned_url"]


@pytest.mark.parametrize("wire", ["v0", "v1"])
async def test_an_upload_reaches_the_handler_beside_and_inside_the_arguments(
    runtime: Runtime, wire: Any
) -> None:
    async with watching(runtime.url, wire=wire) as visitor:
        reference, url = await reserve(visitor)
        assert (await visitor.http.put(url, content=PNG)).status_code == 200
        assert await visitor.ask("use", {"picture": reference}) == {"size": [1, 1]}
        layers = [{"picture": reference, "opacity": 0.5}, {"picture": reference}]
        assert await visitor.ask("stack", layers=layers) == {"sizes": [[1, 1], [1, 1]]}
        with pytest.raises(Refused) as refused:
            await visitor.ask("use", {"picture": reference | {"upload_id": "0" * 32}})
        assert refused.value.code == "unresolved_upload"


async def test_a_command_waits_for_its_upload_and_others_do_not_wait_for_it(runtime: Runtime) -> None:
    async with watching(runtime.url) as visitor:
        reference, url = await reserve(visitor)
        waiting = visitor.tell("stack", layers=[{"picture": reference}])
        await visitor.ask("note", number=1)
        assert not waiting.done()
        await visitor.http.put(url, content=PNG)
        assert await asyncio.wait_for(waiting, 5) == {"sizes": [[1, 1]]}


async def test_commands_that_wait_for_an_upload_are_bounded_in_bytes(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COMMAND_MAILBOX_BYTES", 4_000)
    async with watching(runtime.url) as visitor:
        reference, url = await reserve(visitor)
        replies = [visitor.tell("stack", layers=[{"picture": reference}] * 8) for _ in range(6)]
        with pytest.raises(Refused, match="wait for their uploads") as refused:
            await replies[-1]
        assert refused.value.code == "rate_limited"
        await visitor.http.put(url, content=PNG)
        assert (await replies[0])["sizes"] == [[1, 1]] * 8
        await asyncio.gather(*replies, return_exceptions=True)


async def test_uploads_of_one_session_are_unknown_to_the_next(runtime: Runtime) -> None:
    async with watching(runtime.url) as visitor:
        reference, url = await reserve(visitor)
        await visitor.http.put(url, content=PNG)
        await visitor.leave()
        await until_state(runtime, "ready")
    async with watching(runtime.url) as visitor:
        with pytest.raises(Refused, match="no upload"):
            await visitor.ask("use", {"picture": reference})
