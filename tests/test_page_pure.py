"""What the page makes of what it is told, in node: schemas, keys, times, messages, words. No document, no server."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model
from support.page_modules import PAGE, run
from support.page_schemas import KINDS, MATRIX, Scene, choice, document, parameter

from reactor_runtime import Show, VideoModel, command
from reactor_runtime.author import documents
from reactor_runtime.author.description import describe

pytestmark = pytest.mark.usefixtures("node")


def field(openapi: dict[str, Any]) -> dict[str, Any]:
    found = run("schema", "return m.readSchema(x).commands[0].fields[0];", openapi)
    assert isinstance(found, dict)
    return found


# Schema → fields --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "schema", "expected"), [case[1:] for case in KINDS], ids=[case[0] for case in KINDS]
)
def test_every_kind_of_parameter_is_read_as_what_it_is(
    name: str, schema: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = field(parameter(schema, name=name))
    assert {key: found.get(key) for key in expected} == expected


def test_what_pydantic_writes_for_nested_models_is_read() -> None:
    schema = create_model("act", scene=(Scene, ...)).model_json_schema()
    scene = field(document(schema))
    assert scene["kind"] == "group"
    kinds = {part["name"]: part["kind"] for part in scene["fields"]}
    assert kinds == {"name": "text", "weather": "choice", "lights": "list", "seed": "number"}
    light = scene["fields"][2]["item"]
    assert [part["path"] for part in light["fields"]] == ["scene.lights.0.angle", "scene.lights.0.soft"]


def test_a_model_that_contains_itself_ends_in_a_text_box() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"type": "object", "properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    found = field(document(schema))
    while found["kind"] == "group":
        found = found["fields"][0]
    assert found["kind"] == "json"


@pytest.mark.parametrize(
    ("command", "argument", "labels"),
    [
        ("set_starting_image", "base64_image", ["Starting picture", "Starting picture"]),
        ("set_prompt", "prompt", ["Prompt", "Prompt"]),
        ("blend", "style_a", ["Blend", "Style a"]),
        ("paint", "image", ["Paint", "Picture"]),
        ("compare", "image_b64", ["Compare", "Picture"]),
        ("compare", "second_image", ["Compare", "Second picture"]),
        ("imagine", "imaginary", ["Imagine", "Imaginary"]),
        ("set", "set", ["Set", "Set"]),
    ],
)
def test_names_of_the_api_become_words(command: str, argument: str, labels: list[str]) -> None:
    schema = {"type": "object", "properties": {argument: {"type": "string"}}}
    body = "const [c] = m.readSchema(x).commands; return [c.label, c.fields[0].label];"
    assert run("schema", body, document(schema, name=command)) == labels


def test_what_an_author_declared_goes_before_what_is_guessed() -> None:
    class Model(VideoModel):
        first_frame = "About 5 seconds"

        @command("set_prompt", label="Scene", hint="Say what you see", group="World", primary=True)
        def set_prompt(
            self,
            prompt: Annotated[str, Show(label="Words", placeholder="A hill", examples=["Fog", "Rain"])],
            note: Annotated[str, Show(placeholder="More")] | None = None,
            turn: Annotated[float, Show(look="x")] = Field(0, ge=-1, le=1),
            key: Literal["W", "A"] = "W",
            held: Annotated[tuple[Literal["W", "A"], ...], Show(also_held=True)] = (),
        ) -> None: ...

        @command
        def plain(self, key: Literal["W", "A"] = "W") -> None: ...

    read = run("schema", "return m.readSchema(x);", documents.openapi(describe(Model, name="m", version="1")))
    assert read["firstFrame"] == "About 5 seconds"
    scene, plain = read["commands"]
    assert [scene[key] for key in ("label", "hint", "group", "primary")] == [
        "Scene",
        "Say what you see",
        "World",
        True,
    ]
    assert [plain[key] for key in ("label", "hint", "group", "primary")] == ["Plain", "", "", False]
    prompt, note, turn, key, held = scene["fields"]
    assert (prompt["label"], prompt["placeholder"], prompt["examples"]) == (
        "Words",
        "A hill",
        ["Fog", "Rain"],
    )
    assert (note["nullable"], note["placeholder"]) == (True, "More")
    assert (turn["look"], key["look"], held["alsoHeld"], key["alsoHeld"]) == ("x", None, True, False)


@pytest.mark.parametrize(
    "openapi", [{}, None, {"paths": {"/health": {"get": {}}}}, {"paths": {"/events/x": {}}}]
)
def test_a_document_without_commands_gives_none(openapi: object) -> None:
    assert run("schema", "return m.readSchema(x).commands;", openapi) == []


def test_nothing_is_drawn_over_the_picture_of_a_model_that_one_only_watches() -> None:
    plain = {"tracks": [], "commands": [{"name": "go", "label": "Go", "description": "", "fields": []}]}
    assert run("invitation", "return m.offerOf(x);", plain) is None


# Keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letters", "description", "neutral", "meaning"),
    [
        ("WASDQ", "Keyboard: W=forward, A=left, S=back, D=right, Q=none", "Q", {"W": "forward", "Q": "none"}),
        ("UJKLI", "Mouse: J=left, K=down, L=right, I=up, U=none", "U", {"U": "none"}),
        ("WASDQ", "", "Q", {}),
        ("WASD", "", None, {}),
        ("WASD", "W up, A left, S down, D right", None, {"A": "left", "D": "right"}),
        ("XY", "A letter of the map", "Y", {}),
    ],
)
def test_letters_get_the_meaning_and_the_neutral_choice_of_the_description(
    letters: str, description: str, neutral: str | None, meaning: dict[str, str]
) -> None:
    pad = run(
        "keys, schema", "return m.padsOf(m.readSchema(x).commands[0])[0];", choice(letters, description)
    )
    assert pad["neutral"] == neutral
    assert pad["meaning"].items() >= meaning.items()


def test_choices_that_are_words_get_no_keys() -> None:
    openapi = parameter({"enum": ["a", "ink"]})
    assert run("keys, schema", "return m.padsOf(m.readSchema(x).commands[0]);", openapi) == []


def control_model(
    mouse: Literal["J", "K", "L", "I", "U"], keyboard: Literal["W", "A", "S", "D", "Q"]
) -> dict[str, str]:
    return {"mouse_key": mouse, "keyboard_key": keyboard}


def test_keys_are_held_combine_and_fall_back() -> None:
    steps = [
        ("press", "w", True, control_model("U", "W")),
        ("press", "W", False, control_model("U", "W")),
        ("press", "l", True, control_model("L", "W")),
        ("press", "d", True, control_model("L", "D")),
        ("release", "d", True, control_model("L", "W")),
        ("press", "a", True, control_model("L", "A")),
        ("release", "w", False, control_model("L", "A")),
        ("release", "a", True, control_model("L", "Q")),
        ("release", "l", True, control_model("U", "Q")),
        ("press", "q", False, control_model("U", "Q")),
        ("press", "x", False, control_model("U", "Q")),
    ]
    seen = run(
        "held, keys, schema",
        """
        const held = new m.HeldKeys(m.padsOf(m.readSchema(x.openapi).commands[0]));
        return x.steps.map(([verb, key]) => [verb, key, held[verb]({key, code: ''}), held.choices()]);
        """,
        {"openapi": document(MATRIX), "steps": [step[:2] for step in steps]},
    )
    assert seen == [list(step) for step in steps]


def test_without_a_neutral_choice_each_press_counts_and_letting_go_does_not() -> None:
    seen = run(
        "held, keys, schema",
        """
        const held = new m.HeldKeys(m.padsOf(m.readSchema(x).commands[0]));
        const a = {key: 'a', code: 'KeyA'};
        return [held.press(a), held.release(a), held.press(a), held.choices(), held.releaseAll()];
        """,
        choice("WASD", ""),
    )
    assert seen == [True, False, True, {"key": "A"}, False]


@pytest.mark.parametrize(
    ("letters", "key", "code", "letter"),
    [
        ("XYZN", "z", "KeyY", "Z"),  # a German keyboard prints Z there, and Z is meant
        ("XYZN", "н", "KeyY", "Y"),  # a Russian one prints no Latin letter
        ("XYN", "z", "KeyY", None),  # printed, and no letter of this pad
        ("123", "&", "Digit1", "1"),  # a French one needs Shift for digits
        ("123", "2", "Numpad2", "2"),
        ("WASD", "w", "KeyZ", "W"),  # printed W on a French one, where nothing else lies
    ],
)
def test_other_letters_are_those_that_are_printed(
    letters: str, key: str, code: str, letter: str | None
) -> None:
    found = run(
        "keys, schema",
        "return m.letterOf(m.padsOf(m.readSchema(x.openapi).commands[0])[0], x.stroke) ?? null;",
        {"openapi": choice(letters, ""), "stroke": {"key": key, "code": code}},
    )
    assert found == letter


def test_a_list_of_other_letters_is_no_list_of_keys() -> None:
    other = {"type": "array", "items": {"enum": ["W", "X"]}}
    schema = {"type": "object", "properties": {**MATRIX["properties"], "extra": other}}  # type: ignore[dict-item]
    also = "const c = m.readSchema(x).commands[0]; return m.alsoOf(c, m.padsOf(c));"
    assert run("keys, schema", also, document(schema)) is None


# Thumbs and sticks ------------------------------------------------------------------------------------


ALL = "WASDIJKL"
WALK = {"W": "forward", "A": "left"}
CAR = {"W": "faster", "S": "brake"}


@pytest.mark.parametrize(
    ("pads", "also", "thumbs"),
    [
        ([("WASD", CAR), ("IJKL", {})], ALL, ["left across AD", "right upright WS"]),
        ([("WASD", WALK), ("IJKL", {})], ALL, ["left eight WASD", "right eight IJKL"]),
        ([("WASD", WALK), ("IJKL", {})], "", ["left four WASD", "right four IJKL"]),
        ([("WASD", {})], ALL, ["left across AD", "right upright WS"]),
        ([("WASD", CAR)], "", ["left four WASD"]),
        ([("AD", {})], "", ["left across AD"]),
        ([("WS", {})], "", ["left upright WS"]),
        ([("FH", {"F": "left", "H": "right"})], "", ["left across FH"]),
        ([("XY", {})], "", []),
    ],
)
def test_a_car_has_a_thumb_for_the_wheel_and_one_for_the_pedals_and_a_walker_two_sticks(
    pads: list[tuple[str, dict[str, str]]], also: str, thumbs: list[str]
) -> None:
    fields: list[dict[str, Any]] = [
        {
            "name": f"{'look' if letters == 'IJKL' else 'move'}_key",
            "kind": "choice",
            "choices": [{"value": letter} for letter in [*letters, "0"]],
            "description": ", ".join(f"{letter}={word}" for letter, word in {**meaning, "0": "none"}.items()),
        }
        for letters, meaning in pads
    ]
    found = run(
        "keys, thumbs",
        """
        const [fields, letters] = x;
        const also = letters ? {field: 'also', letters: [...letters], max: 2} : null;
        return m.thumbsOf(m.padsOf({fields, description: ''}), also).map(({side, shape, compass}) =>
            [side, shape, ['up', 'left', 'down', 'right'].map(way => compass[way] ?? '').join('')].join(' '));
        """,
        [fields, also],
    )
    assert found == thumbs


def test_a_stick_near_a_border_does_not_flutter_and_near_the_middle_holds_nothing() -> None:
    walked = run(
        "stick",
        """
        const stick = new m.Stick('eight', 0.3);
        return x.map(([degrees, far]) =>
            stick.at(far * Math.cos(degrees * Math.PI / 180), far * Math.sin(degrees * Math.PI / 180)).join(''));
        """,
        [
            [0, 0.2],
            [0, 0.5],
            [0, 0.25],
            [0, 0.1],
            [20, 1],
            [28, 1],
            [20, 1],
            [40, 1],
            [20, 1],
            [-90, 1],
            [179, 1],
            [-179, 1],
        ],
    )
    right, both = "right", "rightdown"
    assert walked == ["", right, right, "", right, right, right, both, both, "up", "left", "left"]


# Timing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "later"),
    [
        (0, 0, True),
        (3000, 0, True),
        (0, 3000, False),
        (500, 2**32 - 2500, True),
        (2**32 - 2500, 500, False),
        (2**31 - 1, 0, True),
        (2**31, 0, False),
        (2**32 - 1, 2**32 - 1, True),
    ],
)
def test_rtp_timestamps_compare_across_the_wrap(a: int, b: int, later: bool) -> None:
    assert run("latency", "return m.rtpAtLeast(...x);", [a, b]) is later


#: Arrivals as [picture, waiting behind it, ms]; when each leaves.
LEAVE = """
const pace = new m.Pace();
return x.map(([picture, waiting, ms]) => Math.round(ms + pace.waitMs({timestamp: picture * 3000}, waiting, ms)));
"""


@pytest.mark.parametrize(
    ("arrivals", "leave"),
    [
        ([[n, 0, n * 33] for n in range(1, 6)], [n * 33 for n in range(1, 6)]),
        ([[1, 0, 33], [2, 3, 200], [3, 2, 200], [4, 1, 217], [5, 0, 234]], [33, 200, 217, 233, 250]),
        ([[n, 20 - n, 1000] for n in range(1, 6)], [1000, 1003, 1006, 1010, 1014]),
    ],
    ids=["in time: as they come", "four at once: at twice their pace", "many at once: not much later for it"],
)
def test_late_pictures_leave_one_by_one(arrivals: list[list[int]], leave: list[int]) -> None:
    assert run("catching-up", LEAVE, arrivals) == leave


def answers(*trips_ms: float, name: str = "http://gpu.example/x/overview") -> list[dict[str, Any]]:
    return [{"name": name, "requestStart": 100, "responseStart": 100 + trip_ms} for trip_ms in trips_ms]


@pytest.mark.parametrize(
    ("known", "far"),
    [
        ([], False),
        (answers(3), False),
        (answers(100), True),
        (answers(180, 24, 90), False),
        (answers(100, name="http://gpu.example/x/app.js"), False),
    ],
    ids=["nothing known", "near", "far", "near, and once slow", "another answer"],
)
def test_a_server_is_far_by_the_quickest_of_its_answers(known: list[dict[str, Any]], *, far: bool) -> None:
    assert run("late", "return m.isFar(x);", known) is far


TRACK = """
const frames = new m.DisplayedFrames();
const seen = [];
const tracker = new m.DelayTracker(frames, delay => seen.push([delay.requestId, delay.delayMs, delay.exact]));
const show = (rtp, displayMs) => { const frame = {rtp, displayMs}; frames.add(frame); tracker.frame(frame); };
"""


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (
            "show(0, 90); tracker.sent('a', 'c', 100); tracker.shown('a', 3000, 110); show(3000, 130);",
            ["a", 30, True],
        ),
        (
            "tracker.sent('a', 'c', 100); show(0, 105); show(3000, 130); tracker.shown('a', 3000, 140);",
            ["a", 30, True],
        ),
        (
            "show(0, 90); tracker.sent('a', 'c', 100); tracker.shown('a', 3000, 110); show(6000, 163);",
            ["a", 63, True],
        ),
        (
            "show(4294966000, 90); tracker.sent('a', 'c', 100); tracker.shown('a', 1704, 110);"
            "show(4294966500, 115); show(1704, 140);",
            ["a", 40, True],
        ),
        ("show(null, 90); tracker.sent('a', 'c', 100); tracker.shown('a', 3000, 120);", ["a", 20, False]),
        ("show(0, 90); tracker.sent('a', 'c', 100); tracker.shown('a', null, 125);", ["a", 25, False]),
    ],
    ids=[
        "notice first",
        "frame first",
        "that frame was skipped",
        "wrap",
        "browser is silent",
        "server is silent",
    ],
)
def test_the_delay_runs_from_sending_to_the_displayed_frame(steps: str, expected: list[Any]) -> None:
    assert run("latency", f"{TRACK} {steps} return seen;") == [expected]


def test_a_refused_command_and_a_lost_connection_are_never_measured() -> None:
    steps = """
    show(0, 90);
    tracker.sent('a', 'c', 100); tracker.drop('a'); tracker.shown('a', 0, 110);
    tracker.sent('b', 'c', 100); tracker.shown('b', 9000, 110); tracker.clear(); show(9000, 200);
    return seen;
    """
    assert run("latency", TRACK + steps) == []


@pytest.mark.parametrize(("values", "middle"), [([], None), ([3], 3), ([9, 1, 5], 5), ([4, 1, 3, 2], 2.5)])
def test_the_median_is_the_middle(values: list[float], middle: float | None) -> None:
    assert run("latency", "return m.median(x);", values) == middle


def test_a_slider_sends_at_most_every_interval_and_always_the_newest() -> None:
    sent = run(
        "coalesce",
        """
        let now = 0; const timers = []; const sent = [];
        const clock = {
          intervalMs: 50, now: () => now,
          schedule: (run, delay) => timers[timers.push({run, at: now + delay}) - 1],
          cancel: timer => timers.splice(timers.indexOf(timer), 1),
        };
        const latest = new m.LatestWins(value => sent.push([now, value]), clock);
        for (; now < 200; now += 5) {
          for (const timer of timers.filter(t => t.at <= now)) {
            timers.splice(timers.indexOf(timer), 1);
            timer.run();
          }
          if (now <= 120) latest.push(now);
        }
        latest.push('x'); latest.push('y'); latest.cancel();
        return sent;
        """,
    )
    assert sent == [[0, 0], [50, 45], [100, 95], [150, 120], [200, "x"]]


# Wire -------------------------------------------------------------------------------------------------


def test_a_command_carries_its_id_beside_its_type() -> None:
    text = run("wire", "return m.encodeCommand('act', {a: 1}, {requestId: 'page_1'});")
    assert json.loads(text) == {
        "scope": "application",
        "data": {"type": "act", "data": {"a": 1}, "request_id": "page_1"},
    }


@pytest.mark.parametrize(
    ("frame", "decoded"),
    [
        ('{"scope":"runtime","data":{"type":"stats","data":{"fps":30}}}', ("runtime", "stats", {"fps": 30})),
        ('{"scope":"application","data":{"type":"hi","data":{}}}', ("application", "hi", {})),
        ('{"type":"hi","data":{"a":1}}', ("application", "hi", {"a": 1})),
        ("not json", None),
        ("[1]", None),
        ('{"scope":"runtime","data":{"type":7}}', None),
        ('{"scope":"runtime"}', None),
    ],
)
def test_frames_are_read_and_junk_is_dropped(
    frame: str, decoded: tuple[str, str, dict[str, Any]] | None
) -> None:
    found = run("wire", "return m.decodeData(x);", frame)
    assert found == (decoded and {"scope": decoded[0], "type": decoded[1], "data": decoded[2]})


# Words ------------------------------------------------------------------------------------------------


def test_after_a_blackout_the_page_says_what_happened_since_when_and_what_to_do() -> None:
    said = run(
        "words",
        """
        const loss = {why: 'the network connection was interrupted', atMs: new Date(2026, 1, 3, 14, 3, 12).getTime()};
        const now = {why: 'the server does not answer', nextS: 8};
        return [
          m.comingBack(loss, loss.atMs + 1_000, {why: loss.why, nextS: 2}),
          m.comingBack(loss, loss.atMs + 45_000, now),
          m.endedMeanwhile(loss, loss.atMs + 64_000),
        ].map(text => text.replaceAll('\\u00a0', ' '));
        """,
    )
    at = "The network connection was interrupted at 14:03:12"
    assert said == [
        f"{at}, 1 s ago. Next try in 2 s.",
        f"{at}, 45 s ago. Now the server does not answer. Check your network; this page goes on trying by "
        "itself. Next try in 8 s.",
        f"{at}, and this page was away for 64 s. Meanwhile the session ended: it is kept only for a short while "
        "when nobody is connected. Start begins a new one.",
    ]


def test_a_session_that_took_its_connection_along_was_not_given_up_for_being_empty() -> None:
    body = """
        const loss = {why: 'the server closed the connection', atMs: new Date(2026, 1, 3, 14, 3, 12).getTime()};
        return m.endedMeanwhile(loss, loss.atMs + 700);
    """
    said = run("words", body)
    assert said == "It ended at 14:03:12, and the connection with it. The operator's log says why."


# The model's values, the line, company ----------------------------------------------------------------


def followed(steps: list[list[Any]]) -> list[Any]:
    """Return what a `Following` wrote at each of these steps, with the fields that it was to leave alone."""
    body = """
        const written = [];
        const following = new m.Following((told, edited) => written.push([told.values.x, [...edited]]));
        for (const [step, ...args] of x) following[step](...args);
        return written;
    """
    found = run("following", body, steps)
    assert isinstance(found, list)
    return found


def values(x: int) -> dict[str, Any]:
    return {"values": {"x": x}}


FOLLOWED: list[tuple[str, list[list[Any]], list[Any]]] = [
    ("what is told is shown", [["tell", values(4)]], [[4, []]]),
    ("an edit is left alone", [["touched", "x"], ["tell", values(4)]], [[4, ["x"]]]),
    (
        "while something is on its way nothing is shown, then the newest",
        [["sent", "1"], ["tell", values(4)], ["tell", values(5)], ["answered", "1", True]],
        [[5, []]],
    ),
    (
        "what was sent is not an edit any more",
        [["touched", "x"], ["sent", "1"], ["answered", "1", True], ["tell", values(4)]],
        [[4, []]],
    ),
    (
        "what was refused still is",
        [["touched", "x"], ["sent", "1"], ["answered", "1", False], ["tell", values(4)]],
        [[4, ["x"]]],
    ),
    (
        "the last of several answers counts",
        [["sent", "1"], ["sent", "2"], ["tell", values(4)], ["answered", "1", True]],
        [],
    ),
    ("a new connection answers nothing", [["sent", "1"], ["clear"], ["tell", values(4)]], [[4, []]]),
]


@pytest.mark.parametrize(("steps", "written"), [pytest.param(s, w, id=i) for i, s, w in FOLLOWED])
def test_the_model_s_values_are_shown_where_nobody_is_entering_others(
    steps: list[list[Any]], written: list[Any]
) -> None:
    assert followed(steps) == written


@pytest.mark.parametrize(
    ("silent_ms", "online", "lost", "state"),
    [
        (0, True, 0, "good"),
        (1_999, True, 0, "good"),
        (2_000, True, 0, "weak"),
        (0, True, 0.09, "good"),
        (0, True, 0.1, "weak"),
        (0, False, 0, "good"),
        (1_000, False, 0, "offline"),
        (60_000, False, 0.5, "offline"),
    ],
)
def test_a_line_is_judged_by_its_silence_its_losses_and_the_browser(
    silent_ms: int, online: bool, lost: float, state: str
) -> None:
    now = {"silentMs": silent_ms, "online": online, "lost": lost}
    assert run("line", "return m.judge(x).state", now) == state


@pytest.mark.parametrize(
    ("says", "answer", "asked"),
    [
        (["yes"], "yes", 1),
        ([None, None, "yes"], "yes", 3),
        (["silence", None, "yes"], "yes", 3),
        ([None, "refused", "yes"], "refused", 2),
        (["silence"] * 4, "silence", 4),
    ],
    ids=["at once", "swallowed twice", "one is silent", "refused", "always silent"],
)
def test_what_a_network_swallows_is_asked_afresh_until_something_answers(
    says: list[str | None], answer: str, asked: int
) -> None:
    body = """
        let asked = 0, open = 0;
        const ask = (signal) => new Promise((resolve, reject) => {
            const said = x[asked++];
            open += 1;
            signal.addEventListener('abort', () => (open -= 1));
            if (said === 'yes') resolve(said);
            else if (said) reject(said);
        });
        const how = {everyMs: 20, times: 4, isSilence: (error) => error === 'silence'};
        const answer = await m.untilAnswered(ask, how).catch((error) => error);
        const before = asked;
        await new Promise((done) => setTimeout(done, 60));
        return [answer, before, asked, open];
    """
    # Nothing is asked after that, and nothing stays open.
    assert run("askagain", body, says) == [answer, asked, asked, 0]


@pytest.mark.parametrize(
    ("before", "now", "share"),
    [
        (None, (0, 100), 0),
        ((0, 100), (10, 190), 0.1),
        ((0, 100), (5, 105), 0),
        ((10, 100), (0, 200), 0),
    ],
    ids=["nothing before", "a tenth", "too few to tell", "what was lost has come"],
)
def test_the_share_that_is_lost_is_that_of_the_last_second(
    before: tuple[int, int] | None, now: tuple[int, int], share: float
) -> None:
    packets = [each and {"packetsLost": each[0], "packetsReceived": each[1]} for each in (before, now)]
    assert run("line", "return m.lostShare(...x)", packets) == share


@pytest.mark.parametrize(
    ("viewers", "drivers", "driving", "text"),
    [
        (1, 1, True, ""),
        (2, 0, False, "2 here, nobody drives"),
        (2, 1, True, "2 here, you drive"),
        (3, 1, False, "3 here, somebody else drives"),
        (3, 2, True, "3 here, you and 1 other drive"),
        (4, 3, True, "4 here, you and 2 others drive"),
        (4, 2, False, "4 here, 2 others drive"),
    ],
)
def test_company_is_said_in_words(viewers: int, drivers: int, driving: bool, text: str) -> None:
    here = {"viewers": viewers, "drivers": drivers, "driving": driving}
    assert run("company", "return m.companyText(x)", here) == text


# Styles -------------------------------------------------------------------------------------------------


def test_what_moves_on_and_on_costs_no_painting() -> None:
    """Opacity and transforms are the compositor's; whatever else changes is painted sixty times a second."""
    styles = "".join(path.read_text() for path in PAGE.glob("*.css"))
    endless = set(re.findall(r"animation: ([\w-]+)[^;}]*infinite", styles))
    assert {"breathe", "slide", "call"} <= endless
    for name in endless:
        (frames,) = re.findall(rf"@keyframes {name} (\{{(?:[^{{}}]*\{{[^{{}}]*\}})*[^{{}}]*\}})", styles)
        assert set(re.findall(r"([\w-]+):", frames)) <= {"opacity", "transform"}, name
