"""What the page says of other people, and its place in the line, without a browser."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from support.page_modules import PAGE, run

pytestmark = pytest.mark.usefixtures("node")

DRIVER = {"id": 1, "name": "Visitor 1"}
WATCHING = {"you": "watch", "driver": DRIVER, "kept_s": None, "may": ["request"], "requests": []}
DRIVING = {"you": "drive", "driver": DRIVER, "kept_s": None, "may": ["release", "give"], "requests": []}
NO_TURN = {"waiting": 0, "endsAtMs": None}
NOW = {"wheel": None, "turn": NO_TURN, "ticket": None, "overAtMs": None, "mayDrive": True, "hasLine": True}


def ticket(**said: Any) -> dict[str, Any]:
    return {
        "state": "waiting",
        "place": 3,
        "estimate_s": None,
        "reason": "",
        "claimUntilMs": None,
        **said,
    }


STANDINGS: dict[str, tuple[dict[str, Any], tuple[str, str, list[str]] | None]] = {
    "the only driver": ({"wheel": DRIVING}, None),
    "a driver for whom some wait": (
        {"wheel": DRIVING, "turn": {"waiting": 2, "endsAtMs": 60_000}},
        None,
    ),
    "a driver whose turn ends": (
        {"wheel": DRIVING, "turn": {"waiting": 2, "endsAtMs": 15_000}},
        ("Your turn ends", "2 wait. You watch then.", []),
    ),
    "a driver who is asked": (
        {"wheel": {**DRIVING, "requests": [{"id": 2, "name": "Visitor 2"}, {"id": 3, "name": "Visitor 3"}]}},
        ("Visitor 2 asks for the wheel", "And 1 other.", ["Give it", "Not now"]),
    ),
    "a watcher": (
        {"wheel": WATCHING},
        ("You watch", "Visitor 1 drives.", ["Wait for a turn", "Ask for the wheel"]),
    ),
    "a watcher who has asked": (
        {"wheel": {**WATCHING, "may": []}, "turn": {"waiting": 1, "endsAtMs": None}},
        ("You watch", "Visitor 1 drives. You have asked for the wheel. 1 waits.", ["Wait for a turn"]),
    ),
    "a watcher of a free wheel": (
        {"wheel": {**WATCHING, "driver": None, "may": ["take"]}},
        ("Nobody drives", "The wheel is free.", ["Take the wheel"]),
    ),
    "a watcher while the driver is away": (
        {"wheel": {**WATCHING, "kept_s": 9.5}, "hasLine": False},
        ("You watch", "Visitor 1 is away for a moment.", ["Ask for the wheel"]),
    ),
    "who may only watch": (
        {"wheel": {**WATCHING, "may": []}, "mayDrive": False},
        ("You watch", "Visitor 1 drives.", []),
    ),
    "whose turn is over": (
        {"wheel": WATCHING, "overAtMs": -9_000},
        ("Your turn is over", "Visitor 1 drives.", ["Wait again", "Ask for the wheel"]),
    ),
    "who waits": (
        {"wheel": WATCHING, "ticket": ticket(estimate_s={"p50": 130, "p90": 221})},
        ("You are 3rd in line", "About 2 to 4 minutes. Visitor 1 drives.", ["Leave the line"]),
    ),
    "who waits without a picture": (
        {"ticket": ticket(place=1)},
        ("You are next", "", ["Leave the line"]),
    ),
    "whose turn it is": (
        {"wheel": WATCHING, "ticket": ticket(state="claim", claimUntilMs=20_000)},
        (
            "It is your turn",
            "Press Drive before the time is over, or the next one gets it.",
            ["Drive", "Let it go"],
        ),
    ),
    "who finds it taken": (
        {"turn": {"waiting": 4, "endsAtMs": None}},
        ("Wait for a turn?", "4 wait.", ["Wait for a turn"]),
    ),
    "who finds it taken and may not drive": ({"mayDrive": False}, None),
}


def test_each_is_told_how_he_stands_and_what_he_can_do() -> None:
    told = run(
        "standing",
        "return x.map((now) => m.standing(now, 0)).map((s) => s && [s.title, s.detail, s.acts.map((a) => a.text)]);",
        [{**NOW, **now} for now, _ in STANDINGS.values()],
    )
    found = {name: tuple(said) if said else None for name, said in zip(STANDINGS, told, strict=True)}
    assert found == {name: expected for name, (_, expected) in STANDINGS.items()}


def test_a_place_an_estimate_and_what_is_left_are_said_in_words() -> None:
    bands = {
        (10, 40): "Less than a minute.",
        (25, 60): "About a minute.",
        (29, 170): "Up to 3 minutes.",
        (60, 60): "About 1 minute.",
        (130, 221): "About 2 to 4 minutes.",
        (600, 600): "About 10 minutes.",
        (6000, 9000): "More than an hour.",
    }
    assert run("standing", "return x.map(([p50, p90]) => m.estimateText({p50, p90}));", list(bands)) == [
        *bands.values()
    ]
    assert run("standing", "return m.estimateText(null);") == ""
    places = {
        1: "You are next",
        2: "You are 2nd in line",
        3: "You are 3rd in line",
        11: "You are 11th in line",
        22: "You are 22nd in line",
    }
    assert run("standing", "return x.map(m.placeText);", list(places)) == [*places.values()]
    assert run("standing", "return [0, 44_100, 45_000, 61_000, 600_000].map((ms) => m.left(ms, 0));") == [
        "0:00",
        "0:45",
        "0:45",
        "1:01",
        "10:00",
    ]
    assert run("standing", "return x.map(m.goneText);", ["left", "ended", "turn_over"]) == ["", "", ""]
    assert "the time to take it is over" in run("standing", "return m.goneText('unclaimed');")


def test_the_company_is_said_with_the_driver_s_name_where_it_has_one() -> None:
    cases = [
        ({"viewers": 1, "drivers": 1, "driving": True}, None, ""),
        ({"viewers": 3, "drivers": 1, "driving": False}, WATCHING, "3 here, Visitor 1 drives"),
        ({"viewers": 3, "drivers": 1, "driving": True}, DRIVING, "3 here, you drive"),
        ({"viewers": 2, "drivers": 0, "driving": False}, None, "2 here, nobody drives"),
        ({"viewers": 4, "drivers": 3, "driving": True}, None, "4 here, you and 2 others drive"),
    ]
    told = run(
        "company", "return x.map(([here, wheel]) => m.companyText(here, wheel));", [c[:2] for c in cases]
    )
    assert told == [text for *_, text in cases]


def test_whoever_is_alone_with_a_free_wheel_takes_it() -> None:
    said = [
        [["wheel", {**WATCHING, "driver": None, "may": ["take"]}], ["company", {"viewers": 1}]],
        [["company", {"viewers": 1}], ["wheel", {**WATCHING, "driver": None, "may": ["take"]}]],
        [["company", {"viewers": 2}], ["wheel", {**WATCHING, "driver": None, "may": ["take"]}]],
        [["company", {"viewers": 1}], ["wheel", WATCHING]],
        [["company", {"viewers": 1}], ["wheel", DRIVING]],
    ]
    body = """
        return x.map((said) => {
            const asked = [];
            const connection = { request: async (method, { action }) => asked.push(`${method} ${action}`) };
            const people = new m.People({ session: { connection } }, () => {});
            people.show = () => {};
            for (const [kind, data] of said) people.tell(kind, data);
            return asked;
        });
    """
    assert run("people", body, said) == [["wheel take"], ["wheel take"], [], [], []]


# The line -------------------------------------------------------------------------------------------------

#: A server whose stream of events says what the test puts there, and which keeps what it was asked.
LINE = """
const stored = new Map();
globalThis.sessionStorage = {
    getItem: (key) => stored.get(key) ?? null, setItem: (key, value) => stored.set(key, value),
    removeItem: (key) => stored.delete(key),
};
const asked = [], told = [];
const answers = x.answers;
const server = { call: async (method, path, how = {}) => {
    asked.push(`${method} ${path}`);
    const answer = answers[`${method} ${path}`];
    if (answer === undefined) throw Object.assign(new Error("no such ticket"), { status: 404 });
    if (answer === "silence")
        return { body: new ReadableStream({ start: (to) => how.signal.addEventListener("abort", () => to.error()) }) };
    if (typeof answer === "string") return new Response(answer);
    return new Response(JSON.stringify(answer.shift?.() ?? answer));
} };
const until = async (done) => { while (!done()) await new Promise((next) => setTimeout(next, 5)); };
"""


def test_a_place_is_followed_on_its_stream_and_kept_over_a_reload() -> None:
    found = run(
        "waiting",
        LINE
        + """
        const first = new m.Waiting(server, (now) => told.push(now));
        await first.join();
        await until(() => told.length === 3);
        const kept = stored.get("reactor.ticket");
        const second = new m.Waiting(server, (now) => told.push(now));
        await until(() => told.length === 5);
        const claimed = await second.claim();
        first.end();
        const states = told.map((now) => now && [now.state, now.place ?? null]);
        return { asked, told: states, kept, claimed, left: stored.size };
        """,
        {
            "answers": {
                "POST line": {"ticket": "T1", "state": "waiting", "place": 2, "poll_s": 0.02},
                "GET line/T1/events": ': alive\r\n\r\ndata: {"state": "waiting", "place": 1}\n\n'
                'data: {"state": "claim", "claim_by_s": 20}\n\n',
                "GET line/T1": "silence",
                "POST line/T1/claim": {"session_id": "S", "seat": "K"},
            }
        },
    )
    assert found["told"][:5] == [
        ["waiting", 2],
        ["waiting", 1],
        ["claim", None],
        ["waiting", 1],
        ["claim", None],
    ]
    assert found["told"][-1] is None
    assert found["kept"] == "T1"
    assert found["claimed"] == {"session_id": "S", "seat": "K"}
    assert found["left"] == 0, "a ticket that is used up is remembered"
    assert found["asked"].count("POST line") == 1


def test_a_place_is_asked_for_again_and_again_where_no_stream_comes_through_and_then_is_gone() -> None:
    found = run(
        "waiting",
        LINE
        + """
        const waiting = new m.Waiting(server, (now) => told.push(now));
        await waiting.join();
        await until(() => told.some((now) => now.state === "gone"));
        return { asked, told: told.map((now) => now.state), reason: told.at(-1).reason, left: stored.size };
        """,
        {
            "answers": {
                "POST line": {"ticket": "T1", "state": "waiting", "place": 2, "poll_s": 0.01},
                "GET line/T1/events": "",
                "GET line/T1": [
                    {"state": "waiting", "place": 2, "poll_s": 0.01},
                    {"state": "waiting", "place": 1, "poll_s": 0.01},
                    {"state": "gone", "reason": "unheard"},
                ],
            }
        },
    )
    assert found["told"] == ["waiting", "waiting", "waiting", "gone"]
    assert found["reason"] == "unheard"
    assert found["left"] == 0
    assert found["asked"].count("GET line/T1") == 3


# The link as a code ---------------------------------------------------------------------------------------


def test_a_code_is_read_back_as_the_link_that_it_was_made_of() -> None:
    token = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ." + "eyJzdWIiOiJnIn0x" * 12 + ".q-R_" * 8
    links = [
        "http://127.0.0.1:8080/",
        "https://demo.example.org/worlds/#token=" + token,
        "http://[2001:db8::1]:8080/?x=ä#token=" + token[:70],
        *(f"https://demo.example.org/{'a1-_' * length}" for length in range(1, 60, 7)),
    ]
    for link, code in zip(links, run("qr", "return x.map(m.qrPath);", links), strict=True):
        assert read(code["path"], code["size"]) == link


def read(path: str, size: int) -> str:
    """What a camera reads of the runs of dark modules that the page draws."""
    picture = np.full((size, size), 255, np.uint8)
    for run_of in path.removesuffix("z").split("z"):
        corner, rest = run_of.removeprefix("M").split("h", 1)
        x, y = map(int, corner.split())
        picture[y, x : x + int(rest.split("v")[0])] = 0
    large = cv2.resize(picture, None, fx=6, fy=6, interpolation=cv2.INTER_NEAREST)
    text, *_ = cv2.QRCodeDetector().detectAndDecode(large)
    return str(text)


def test_the_library_that_draws_codes_is_that_of_its_package() -> None:
    package = PAGE.parents[3] / "tools" / "page" / "node_modules" / "uqr"
    if not package.exists():
        pytest.skip("make check-page installs it")
    source = (package / "dist" / "index.mjs").read_text().split("function getDataAt(")[0].rstrip() + "\n"
    licence = (package / "LICENSE").read_text().strip()
    ours = (PAGE / "uqr.js").read_text()
    assert ours.endswith(source.replace("function encode(data,", "export function encode(data,"))
    assert licence in ours
