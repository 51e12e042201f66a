"""The control page's modules in a real browser, from a plain file server, as a browser loads them.

What needs a running model is tested with the running runtime; here modules get values and a virtual clock.
"""

from __future__ import annotations

import base64
import io
import json
import mimetypes
import re
from collections.abc import Iterator
from enum import Enum
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, Literal

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from pydantic import BaseModel, Field, create_model
from support.chromium import ARGUMENTS, CHROMIUM

import reactor_runtime
from reactor_runtime import Show, VideoModel, command, decode_base64_image
from reactor_runtime.author import documents
from reactor_runtime.author.description import describe
from reactor_runtime.server.page_bundle import bundles

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = Path(reactor_runtime.__file__).parent / "server" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:"
)
REFERENCE = {"type": "object", "format": "reactor-upload-reference", "required": ["upload_id"]}


class Files(SimpleHTTPRequestHandler):
    """The page's folder; the address `/` is an empty document, and the model's endpoints do not exist."""

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>empty</title><main></main>")

    def end_headers(self) -> None:
        if self.path != "/":
            self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(PAGE)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser_page(address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page()
        page.goto(address)
        yield page
        browser.close()


@pytest.fixture
def page(browser_page: Page, address: str) -> Page:
    browser_page.goto(address)
    return browser_page


def run(page: Page, modules: str, body: str, argument: object = None) -> Any:
    """Run `body` with the exports of `modules` (names, comma-separated) as `m` and `argument` as `x`."""
    imports = ", ".join(f"await import('/{name.strip()}.js')" for name in modules.split(","))
    return page.evaluate(f"async x => {{ const m = Object.assign({{}}, {imports}); {body} }}", argument)


def document(schema: dict[str, Any], *, name: str = "act", summary: str = "") -> dict[str, Any]:
    """Return the OpenAPI document of a model with one command."""
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    post = {"operationId": name, "summary": summary, "requestBody": body}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sky", "version": "v1.0.0"},
        "paths": {f"/events/{name}": {"post": post}},
        "components": {"schemas": {"ReactorUploadReference": REFERENCE}},
    }


def parameter(schema: dict[str, Any], *, name: str = "value", required: bool = True) -> dict[str, Any]:
    return document({"type": "object", "properties": {name: schema}, "required": [name] if required else []})


def field(page: Page, openapi: dict[str, Any]) -> dict[str, Any]:
    found = run(page, "schema", "return m.readSchema(x).commands[0].fields[0];", openapi)
    assert isinstance(found, dict)
    return found


# Schema → fields --------------------------------------------------------------------------------------


UPLOAD = {"$ref": "#/components/schemas/ReactorUploadReference"}

KINDS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("short text", "name", {"type": "string", "maxLength": 40}, {"kind": "text", "maxLength": 40}),
    ("prompt", "prompt", {"type": "string"}, {"kind": "multiline"}),
    ("long text", "about", {"type": "string", "maxLength": 500}, {"kind": "multiline"}),
    ("short named text", "text", {"type": "string", "maxLength": 40}, {"kind": "text"}),
    ("colour", "tint", {"type": "string", "format": "color"}, {"kind": "color"}),
    ("free number", "angle", {"type": "number"}, {"kind": "number", "integer": False, "step": None}),
    (
        "number with both ends",
        "strength",
        {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
        {"kind": "slider", "min": 0, "max": 1, "step": 0.005, "default": 0.5},
    ),
    (
        "open ends",
        "x",
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
        {"kind": "slider", "min": 0.01, "max": 1.99},
    ),
    ("integer", "seed", {"type": "integer", "minimum": 0}, {"kind": "number", "integer": True, "min": 0}),
    (
        "integer with both ends",
        "count",
        {"type": "integer", "minimum": 1, "maximum": 8},
        {"kind": "slider", "integer": True, "step": 1},
    ),
    (
        "ends too far apart to aim",
        "frame",
        {"type": "integer", "minimum": 0, "maximum": 999_999},
        {"kind": "number", "min": 0, "max": 999_999},
    ),
    ("multiple", "x", {"type": "integer", "multipleOf": 8}, {"kind": "number", "step": 8}),
    ("switch", "on", {"type": "boolean", "default": True}, {"kind": "toggle", "default": True}),
    ("few choices", "style", {"enum": ["ink", "oil"]}, {"kind": "choice", "style": "pills"}),
    ("many choices", "style", {"enum": list("abcdefgh")}, {"kind": "choice", "style": "menu"}),
    ("one choice", "mode", {"const": "fast"}, {"kind": "choice"}),
    ("numbers to choose from", "size", {"enum": [256, 512]}, {"kind": "choice", "style": "pills"}),
    ("base64 by name", "base64_image", {"type": "string"}, {"kind": "image", "encoding": "base64"}),
    (
        "base64 by encoding",
        "start",
        {"type": "string", "contentEncoding": "base64"},
        {"kind": "image", "encoding": "base64"},
    ),
    ("name of a picture", "image_id", {"type": "string"}, {"kind": "text"}),
    ("uploaded picture", "image", UPLOAD, {"kind": "image", "encoding": "upload"}),
    ("uploaded file", "weights", UPLOAD, {"kind": "file", "encoding": "upload"}),
    (
        "picture either way",
        "start",
        {"anyOf": [UPLOAD, {"type": "string", "contentEncoding": "base64"}]},
        {"kind": "image", "encoding": "either"},
    ),
    (
        "list of numbers",
        "levels",
        {"type": "array", "items": {"type": "number"}, "maxItems": 4},
        {"kind": "list", "maxItems": 4},
    ),
    (
        "pair",
        "size",
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]},
        {"kind": "list", "minItems": 2},
    ),
    (
        "map",
        "weights",
        {"type": "object", "additionalProperties": {"type": "number"}},
        {"kind": "json"},
    ),
    (
        "number or integer",
        "x",
        {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        {"kind": "number", "integer": False},
    ),
    ("text or number", "x", {"anyOf": [{"type": "string"}, {"type": "number"}]}, {"kind": "json"}),
    (
        "optional number",
        "seed",
        {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        {"kind": "number", "nullable": True, "default": None, "hasDefault": True},
    ),
    ("type list with null", "x", {"type": ["string", "null"]}, {"kind": "text", "nullable": True}),
    ("enum with null", "x", {"enum": ["a", "b", None]}, {"kind": "choice", "nullable": True}),
]


@pytest.mark.parametrize(
    ("name", "schema", "expected"), [case[1:] for case in KINDS], ids=[case[0] for case in KINDS]
)
def test_every_parameter_kind_gets_its_own_control(
    page: Page, name: str, schema: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = field(page, parameter(schema, name=name))
    assert {key: found.get(key) for key in expected} == expected
    made = run(
        page,
        "controls",
        """
        const control = m.makeControl(x, {command: 'act', pictures: 1, onInput() {}});
        document.querySelector('main').append(control.element);
        return control.element.querySelectorAll('input, textarea, select, button').length;
        """,
        found,
    )
    assert made > 0


class Weather(Enum):
    CLEAR = "clear"
    RAIN = "rain"


class Light(BaseModel):
    angle: Annotated[float, Field(ge=0, le=360)] = 45
    soft: bool = True


class Scene(BaseModel):
    name: str
    weather: Weather = Weather.CLEAR
    lights: list[Light] = [Light()]
    seed: int | None = None


def test_what_pydantic_writes_for_nested_models_is_read(page: Page) -> None:
    schema = create_model("act", scene=(Scene, ...)).model_json_schema()
    scene = field(page, document(schema))
    assert scene["kind"] == "group"
    kinds = {part["name"]: part["kind"] for part in scene["fields"]}
    assert kinds == {"name": "text", "weather": "choice", "lights": "list", "seed": "number"}
    light = scene["fields"][2]["item"]
    assert [part["path"] for part in light["fields"]] == ["scene.lights.0.angle", "scene.lights.0.soft"]


def test_a_model_that_contains_itself_ends_in_a_text_box(page: Page) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"type": "object", "properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    found = field(page, document(schema))
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
def test_names_of_the_api_become_words(page: Page, command: str, argument: str, labels: list[str]) -> None:
    schema = {"type": "object", "properties": {argument: {"type": "string"}}}
    body = "const [c] = m.readSchema(x).commands; return [c.label, c.fields[0].label];"
    assert run(page, "schema", body, document(schema, name=command)) == labels


def test_what_an_author_declared_goes_before_what_is_guessed(page: Page) -> None:
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

    read = run(
        page, "schema", "return m.readSchema(x);", documents.openapi(describe(Model, name="m", version="1"))
    )
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
def test_a_document_without_commands_gives_none(page: Page, openapi: object) -> None:
    assert run(page, "schema", "return m.readSchema(x).commands;", openapi) == []


# Controls ------------------------------------------------------------------------------------------------


def filled(
    page: Page, schema: dict[str, Any], fill: str, *, name: str = "value", required: bool = True
) -> Any:
    """Make the control, run `fill` with it as `control`, and return what it reads or `{problem}`."""
    return run(
        page,
        "controls, schema",
        f"""
        const [field] = m.readSchema(x).commands[0].fields;
        const control = m.makeControl(field, {{command: 'act', onInput() {{}}}});
        document.querySelector('main').append(control.element);
        const find = selector => control.element.querySelector(selector);
        const type = (selector, text) => {{
          find(selector).value = text;
          find(selector).dispatchEvent(new Event('input', {{bubbles: true}}));
        }};
        {fill}
        try {{ return {{value: control.read() ?? null, left: control.read() === undefined}}; }}
        catch (error) {{ return {{problem: error.message, path: error.path}}; }}
        """,
        parameter(schema, name=name, required=required),
    )


@pytest.mark.parametrize(
    ("schema", "fill", "value"),
    [
        ({"type": "string"}, "type('input', 'hello')", "hello"),
        ({"type": "number"}, "type('input', '2.5')", 2.5),
        ({"type": "integer", "default": 4}, "find('[aria-label^=Increase]').click()", 5),
        ({"type": "integer", "maximum": 4, "default": 4}, "find('[aria-label^=Increase]').click()", 4),
        ({"type": "number", "minimum": 0, "maximum": 1}, "type('input[type=range]', '0.25')", 0.25),
        ({"type": "number", "minimum": 0, "maximum": 1}, "type('input[type=number]', '0.333')", 0.333),
        ({"type": "boolean"}, "find('input').click()", True),
        ({"enum": ["ink", "oil"]}, "find('[value=\"1\"]').click()", "oil"),
        ({"enum": [256, 512]}, "find('[value=\"0\"]').click()", 256),
        ({"enum": list("abcdefgh")}, "find('select').value = '7'", "h"),
        ({"type": "array", "items": {"type": "number"}}, "control.write([1, 2.5])", [1, 2.5]),
        (
            {"type": "array", "items": {"type": "string"}},
            "find('.add').click(); type('input', 'calm')",
            ["calm"],
        ),
        (
            {"type": "array", "items": {"type": "string"}, "default": ["a", "b"]},
            "find('[aria-label^=Remove]').click()",
            ["b"],
        ),
        ({"type": "array", "prefixItems": [{"type": "integer"}] * 2}, "control.write([4, 3])", [4, 3]),
        ({"type": "object", "additionalProperties": True}, "type('textarea', '{\"a\": [1]}')", {"a": [1]}),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}}},
            "type('input[type=number]', '3')",
            {"a": 3, "b": False},
        ),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}, "", None),
        (
            {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            "find('[aria-label^=Set]').click(); type('input[type=number]', '7')",
            7,
        ),
    ],
)
def test_a_control_reads_what_was_entered(
    page: Page, schema: dict[str, Any], fill: str, value: object
) -> None:
    assert filled(page, schema, fill) == {"value": value, "left": False}


@pytest.mark.parametrize(
    ("schema", "fill", "problem"),
    [
        ({"type": "integer"}, "", "Enter a number first."),
        ({"type": "integer"}, "type('input', '1.5')", "A whole number, please."),
        ({"type": "number", "minimum": 1}, "type('input', '0')", "At least 1, please."),
        (
            {"type": "number", "minimum": 0, "maximum": 1},
            "type('input[type=number]', '7')",
            "At most 1, please.",
        ),
        ({"type": "string", "minLength": 3}, "type('input', 'ab')", "At least 3 characters, please."),
        ({"enum": ["ink", "oil"]}, "", "Choose one first."),
        (
            {"type": "object", "additionalProperties": True},
            "type('textarea', '{')",
            "This is not valid JSON.",
        ),
        ({"type": "string", "contentEncoding": "base64"}, "", "Choose a picture first."),
    ],
)
def test_a_wrong_value_is_explained_in_words(
    page: Page, schema: dict[str, Any], fill: str, problem: str
) -> None:
    assert filled(page, schema, fill) == {"problem": problem, "path": "value"}


def test_an_empty_argument_that_is_not_required_is_left_out(page: Page) -> None:
    assert filled(page, {"type": "number"}, "", required=False) == {"value": None, "left": True}


def test_a_refusal_is_shown_at_the_nested_field_it_names(page: Page) -> None:
    schema = create_model("act", scene=(Scene, ...)).model_json_schema()
    shown = run(
        page,
        "compound, controls, schema",
        """
        const control = m.makeControl(m.readSchema(x).commands[0].fields[0], {command: 'act', onInput() {}});
        document.querySelector('main').append(control.element);
        m.passOn([control], 'too steep', 'scene.lights.0.angle');
        const problems = [...document.querySelectorAll('.problem:not([hidden])')];
        return problems.map(problem => [problem.dataset.testid, problem.textContent]);
        """,
        document(schema),
    )
    assert shown == [["problem-act.scene.lights.0.angle", "too steep"]]


def test_text_of_the_model_never_becomes_markup(page: Page) -> None:
    hostile = '<img src=x onerror="window.hacked=1">'
    schema = {"type": "string", "description": hostile, "title": hostile, "default": hostile}
    openapi = document({"type": "object", "properties": {hostile: schema}}, name=hostile, summary=hostile)
    run(
        page,
        "commands, schema, notices",
        """
        const panel = new m.Commands(document.querySelector('main'), {send() {}, grip: {clear() {}}, announce() {}});
        panel.render(m.readSchema(x.openapi).commands);
        new m.Notices(document.querySelector('main')).show(x.hostile);
        """,
        {"openapi": openapi, "hostile": hostile},
    )
    assert page.locator("main img[src='x']").count() == 0
    assert page.evaluate("window.hacked") is None
    assert page.locator("main").inner_text().count(hostile) >= 2


# Commands -----------------------------------------------------------------------------------------------


PANEL = """
window.sent = []; window.said = [];
const panel = window.panel = new m.Commands(document.querySelector('main'), {
  send: async (name, args, uploads, onId) => {
    const id = 'r' + sent.push([name, args]);
    onId(id);
    return id;
  },
  grip: { hold() {}, clear() {} },
  announce: text => said.push(text),
});
panel.render(m.readSchema(x).commands);
panel.setConnected(true);
"""


def test_one_slider_applies_while_it_moves_and_a_form_waits_for_its_button(page: Page) -> None:
    slider = {"type": "number", "minimum": 0, "maximum": 1}
    openapi = document({"type": "object", "properties": {"a": slider}, "required": ["a"]}, name="one")
    two = document({"type": "object", "properties": {"a": slider, "b": slider}}, name="two")
    openapi["paths"] |= two["paths"]
    run(page, "commands, schema", PANEL, openapi)
    page.get_by_test_id("slider-one.a").fill("0.5")
    page.wait_for_function("sent.length === 1")
    page.get_by_test_id("slider-two.a").fill("0.5")
    page.get_by_test_id("send-two").click()
    assert page.evaluate("sent") == [["one", {"a": 0.5}], ["two", {"a": 0.5, "b": 0}]]


def test_a_command_says_when_it_was_accepted_shown_and_refused(page: Page) -> None:
    openapi = parameter({"type": "string"}, name="prompt")
    run(page, "commands, schema", PANEL, openapi)
    status = page.get_by_test_id("status-act")
    page.get_by_label("Prompt").fill("a calm sea")
    page.get_by_label("Prompt").press("Enter")
    page.evaluate("panel.receipt({request_id: 'r1', command: 'act', accepted: true})")
    expect(status).to_have_text("Accepted")
    page.evaluate("panel.shown({requestId: 'r1', delayMs: 41.6, exact: true})")
    expect(status).to_have_text("Visible after 42 ms")
    page.get_by_test_id("send-act").click()
    page.evaluate("panel.receipt({request_id: 'r2', accepted: false, message: 'not here', field: 'prompt'})")
    expect(page.get_by_test_id("problem-act.prompt")).to_have_text("not here")
    expect(page.get_by_label("Prompt")).to_have_attribute("aria-invalid", "true")
    assert page.evaluate("said") == ["Act: not here"]


def test_without_a_connection_nothing_can_be_sent(page: Page) -> None:
    run(page, "commands, schema", PANEL, document({"type": "object", "properties": {}}))
    page.evaluate("panel.setConnected(false)")
    expect(page.get_by_test_id("send-act")).to_be_disabled()


# Keys ---------------------------------------------------------------------------------------------------


def choice(letters: str, description: str, name: str = "key") -> dict[str, Any]:
    schema = {"enum": list(letters), "description": description}
    return document({"type": "object", "properties": {name: schema}, "required": [name]})


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
    page: Page, letters: str, description: str, neutral: str | None, meaning: dict[str, str]
) -> None:
    pad = run(
        page, "keys, schema", "return m.padsOf(m.readSchema(x).commands[0])[0];", choice(letters, description)
    )
    assert pad["neutral"] == neutral
    assert pad["meaning"].items() >= meaning.items()


def test_a_card_whose_keys_are_on_the_picture_leaves_no_empty_panel(page: Page) -> None:
    run(page, "commands, schema", PANEL, choice("WASDQ", ""))
    assert page.evaluate("[panel.clearAway(panel.keypads[0]), panel.isEmpty][1]") is False
    page.evaluate("panel.keypads[0].element.replaceChildren()")
    page.evaluate("panel.clearAway(panel.keypads[0])")
    assert page.evaluate("panel.isEmpty")


def test_choices_that_are_words_get_no_keys(page: Page) -> None:
    openapi = parameter({"enum": ["a", "ink"]})
    assert run(page, "keys, schema", "return m.padsOf(m.readSchema(x).commands[0]);", openapi) == []


def control_model(
    mouse: Literal["J", "K", "L", "I", "U"], keyboard: Literal["W", "A", "S", "D", "Q"]
) -> dict[str, str]:
    return {"mouse_key": mouse, "keyboard_key": keyboard}


MATRIX = {
    "type": "object",
    "properties": {
        "mouse_key": {"enum": list("JKLIU"), "description": "J=left, K=down, L=right, I=up, U=none"},
        "keyboard_key": {"enum": list("WASDQ"), "description": "W=forward, A=left, S=back, D=right, Q=none"},
    },
    "required": ["mouse_key", "keyboard_key"],
}


def test_keys_are_held_combine_and_fall_back(page: Page) -> None:
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
        page,
        "held, keys, schema",
        """
        const held = new m.HeldKeys(m.padsOf(m.readSchema(x.openapi).commands[0]));
        return x.steps.map(([verb, key]) => [verb, key, held[verb]({key, code: ''}), held.choices()]);
        """,
        {"openapi": document(MATRIX), "steps": [step[:2] for step in steps]},
    )
    assert seen == [list(step) for step in steps]


def test_without_a_neutral_choice_each_press_counts_and_letting_go_does_not(page: Page) -> None:
    seen = run(
        page,
        "held, keys, schema",
        """
        const held = new m.HeldKeys(m.padsOf(m.readSchema(x).commands[0]));
        const a = {key: 'a', code: 'KeyA'};
        return [held.press(a), held.release(a), held.press(a), held.choices(), held.releaseAll()];
        """,
        choice("WASD", ""),
    )
    assert seen == [True, False, True, {"key": "A"}, False]


def test_keys_drive_the_model_but_are_never_taken_from_a_text_field(page: Page) -> None:
    openapi = document(MATRIX, name="control")
    openapi["paths"] |= parameter({"type": "string"}, name="prompt")["paths"]
    run(
        page,
        "commands, schema, shortcuts",
        PANEL
        + """
        window.own = [];
        const list = document.body.appendChild(document.createElement('dl'));
        const key = name => ({label: `Do ${name}`, run: () => own.push(name)});
        new m.Shortcuts({f: key('f'), w: key('w')}, list).setModelKeys(panel.keypads);
        """,
        openapi,
    )
    page.get_by_label("Prompt").press_sequentially("wasd f")
    assert page.evaluate("[sent, own]") == [[], []]
    assert page.get_by_label("Prompt").input_value() == "wasd f"
    page.keyboard.press("Escape")
    page.keyboard.down("w")
    expect(page.get_by_test_id("key-control.keyboard_key-W")).to_have_attribute("aria-pressed", "true")
    page.keyboard.up("w")
    page.keyboard.press("f")
    page.keyboard.press("Control+f")
    assert page.evaluate("own") == ["f"]
    assert page.evaluate("sent.map(([, args]) => args.keyboard_key)") == ["W", "Q"]
    expect(page.locator("dl")).to_contain_text("Do f")
    expect(page.locator("dl")).not_to_contain_text("Do w")


LAYOUTS = [
    ("QWERTY", [("w", "KeyW"), ("a", "KeyA"), ("d", "KeyD"), ("l", "KeyL")]),
    ("AZERTY", [("z", "KeyW"), ("q", "KeyA"), ("d", "KeyD"), ("l", "KeyL")]),
    ("Russian", [("ц", "KeyW"), ("ф", "KeyA"), ("в", "KeyD"), ("д", "KeyL")]),
    ("Greek", [("ς", "KeyW"), ("α", "KeyA"), ("δ", "KeyD"), ("λ", "KeyL")]),
    ("Hebrew", [("'", "KeyW"), ("ש", "KeyA"), ("ג", "KeyD"), ("ך", "KeyL")]),
    ("Korean", [("ㅈ", "KeyW"), ("ㅁ", "KeyA"), ("ㅇ", "KeyD"), ("ㅣ", "KeyL")]),
    ("an input method", [("Process", "KeyW"), ("Process", "KeyA"), ("Process", "KeyD"), ("Process", "KeyL")]),
    ("Dvorak", [(",", "KeyW"), ("a", "KeyA"), ("e", "KeyD"), ("n", "KeyL")]),
    ("Shift or Caps Lock", [("W", "KeyW"), ("A", "KeyA"), ("D", "KeyD"), ("L", "KeyL")]),
    ("a screen keyboard", [("w", ""), ("a", ""), ("d", ""), ("l", "")]),
]


@pytest.mark.parametrize(("name", "strokes"), LAYOUTS, ids=[name for name, _ in LAYOUTS])
def test_directions_lie_at_the_same_place_of_every_keyboard(
    page: Page, name: str, strokes: list[tuple[str, str]]
) -> None:
    run(
        page,
        "commands, schema, shortcuts",
        PANEL + "new m.Shortcuts({}, document.createElement('dl')).setModelKeys(panel.keypads);",
        document(MATRIX, name="control"),
    )
    for key, code in strokes:
        page.evaluate(
            """([key, code]) => {
              for (const type of ['keydown', 'keyup'])
                document.body.dispatchEvent(new KeyboardEvent(type, {key, code, bubbles: true}));
            }""",
            [key, code],
        )
    said = page.evaluate("sent.map(([, args]) => args.keyboard_key + args.mouse_key)")
    assert said == ["WU", "QU", "AU", "QU", "DU", "QU", "QL", "QU"]


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
    page: Page, letters: str, key: str, code: str, letter: str | None
) -> None:
    found = run(
        page,
        "keys, schema",
        "return m.letterOf(m.padsOf(m.readSchema(x.openapi).commands[0])[0], x.stroke) ?? null;",
        {"openapi": choice(letters, ""), "stroke": {"key": key, "code": code}},
    )
    assert found == letter


def test_the_keys_on_the_screen_show_what_is_printed_on_the_keyboard(page: Page) -> None:
    french = """
    const printed = new Map([['KeyW', 'z'], ['KeyA', 'q'], ['KeyS', 's'], ['KeyD', 'd'], ['KeyQ', 'a']]);
    Object.defineProperty(navigator, 'keyboard', {value: {getLayoutMap: async () => printed}});
    """
    run(page, "commands, schema", french + PANEL, document(MATRIX, name="control"))
    expect(page.get_by_test_id("key-control.keyboard_key-W").locator("kbd")).to_have_text("Z")
    expect(page.get_by_test_id("key-control.mouse_key-J").locator("kbd")).to_have_text("J")


ALSO = {
    "type": "object",
    "properties": {
        **MATRIX["properties"],  # type: ignore[dict-item]
        "also_held": {"type": "array", "items": {"enum": list("WASDIJKL")}, "maxItems": 2, "default": []},
    },
    "required": ["mouse_key", "keyboard_key"],
}


def test_keys_held_besides_fill_the_list_that_the_schema_has_for_them(page: Page) -> None:
    run(
        page,
        "commands, schema, shortcuts",
        PANEL + "new m.Shortcuts({}, document.createElement('dl')).setModelKeys(panel.keypads);",
        document(ALSO, name="control"),
    )
    assert page.get_by_test_id("field-control.also_held").count() == 0
    for verb, key in [("down", "w"), ("down", "a"), ("down", "s"), ("down", "l"), ("up", "a"), ("up", "w")]:
        getattr(page.keyboard, verb)(key)
    said = page.evaluate("sent.map(([, args]) => [args.keyboard_key, args.mouse_key, args.also_held])")
    assert said == [
        ["W", "U", []],
        ["A", "U", ["W"]],
        ["S", "U", ["A", "W"]],
        ["S", "L", ["A", "W"]],
        ["S", "L", ["W"]],
        ["S", "L", []],
    ]
    expect(page.get_by_test_id("key-control.keyboard_key-S")).to_have_attribute("aria-pressed", "true")
    page.evaluate("dispatchEvent(new Event('blur'))")
    assert page.evaluate("sent.at(-1)[1]") == {"mouse_key": "U", "keyboard_key": "Q", "also_held": []}


def test_a_list_of_other_letters_is_no_list_of_keys(page: Page) -> None:
    other = {"type": "array", "items": {"enum": ["W", "X"]}}
    schema = {"type": "object", "properties": {**MATRIX["properties"], "extra": other}}  # type: ignore[dict-item]
    also = "const c = m.readSchema(x).commands[0]; return m.alsoOf(c, m.padsOf(c));"
    assert run(page, "keys, schema", also, document(schema)) is None


def test_a_key_that_is_held_while_cmd_goes_down_does_not_stick(page: Page) -> None:
    run(
        page,
        "commands, schema, shortcuts",
        PANEL + "new m.Shortcuts({}, document.createElement('dl')).setModelKeys(panel.keypads);",
        document(MATRIX, name="control"),
    )
    page.keyboard.down("w")
    page.keyboard.down("Meta")  # from here on macOS tells nothing of W
    assert page.evaluate("sent.map(([, args]) => args.keyboard_key)") == ["W", "Q"]
    expect(page.get_by_test_id("key-control.keyboard_key-W")).to_have_attribute("aria-pressed", "false")


def test_the_page_s_own_keys_work_without_latin_letters(page: Page) -> None:
    run(
        page,
        "shortcuts",
        """
        window.own = [];
        const keys = {f: {label: 'Full', run: () => own.push('f')}, '?': {label: 'Help', run: () => own.push('?')}};
        new m.Shortcuts(keys, document.createElement('dl'));
        for (const [key, code] of [['а', 'KeyF'], ['f', 'KeyF'], ['?', 'Digit7'], ['u', 'KeyF']])
          document.body.dispatchEvent(new KeyboardEvent('keydown', {key, code, bubbles: true}));
        """,
    )
    assert page.evaluate("own") == ["f", "f", "?"]


def test_a_key_on_the_screen_is_held_with_the_pointer(page: Page) -> None:
    run(page, "commands, schema", PANEL, document(MATRIX, name="control"))
    page.get_by_test_id("key-control.mouse_key-L").hover()
    page.mouse.down()
    page.mouse.up()
    assert page.evaluate("sent.map(([, args]) => args.mouse_key)") == ["L", "U"]


# Timing -------------------------------------------------------------------------------------------------


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
def test_rtp_timestamps_compare_across_the_wrap(page: Page, a: int, b: int, later: bool) -> None:
    assert run(page, "latency", "return m.rtpAtLeast(...x);", [a, b]) is later


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
def test_late_pictures_leave_one_by_one(page: Page, arrivals: list[list[int]], leave: list[int]) -> None:
    assert run(page, "catching-up", LEAVE, arrivals) == leave


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
def test_a_server_is_far_by_the_quickest_of_its_answers(
    page: Page, known: list[dict[str, Any]], *, far: bool
) -> None:
    assert run(page, "late", "return m.isFar(x);", known) is far


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
def test_the_delay_runs_from_sending_to_the_displayed_frame(
    page: Page, steps: str, expected: list[Any]
) -> None:
    assert run(page, "latency", f"{TRACK} {steps} return seen;") == [expected]


def test_a_refused_command_and_a_lost_connection_are_never_measured(page: Page) -> None:
    steps = """
    show(0, 90);
    tracker.sent('a', 'c', 100); tracker.drop('a'); tracker.shown('a', 0, 110);
    tracker.sent('b', 'c', 100); tracker.shown('b', 9000, 110); tracker.clear(); show(9000, 200);
    return seen;
    """
    assert run(page, "latency", TRACK + steps) == []


@pytest.mark.parametrize(("values", "middle"), [([], None), ([3], 3), ([9, 1, 5], 5), ([4, 1, 3, 2], 2.5)])
def test_the_median_is_the_middle(page: Page, values: list[float], middle: float | None) -> None:
    assert run(page, "latency", "return m.median(x);", values) == middle


def test_a_slider_sends_at_most_every_interval_and_always_the_newest(page: Page) -> None:
    sent = run(
        page,
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


# Wire ---------------------------------------------------------------------------------------------------


def test_a_command_carries_its_id_beside_its_type(page: Page) -> None:
    text = run(page, "wire", "return m.encodeCommand('act', {a: 1}, {requestId: 'page_1'});")
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
    page: Page, frame: str, decoded: tuple[str, str, dict[str, Any]] | None
) -> None:
    found = run(page, "wire", "return m.decodeData(x);", frame)
    assert found == (decoded and {"scope": decoded[0], "type": decoded[1], "data": decoded[2]})


# Words --------------------------------------------------------------------------------------------------


def test_after_a_blackout_the_page_says_what_happened_since_when_and_what_to_do(page: Page) -> None:
    said = run(
        page,
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


# Pictures -----------------------------------------------------------------------------------------------


def test_a_large_picture_is_scaled_to_fit_a_message_and_a_small_drawing_keeps_every_pixel(page: Page) -> None:
    found = run(
        page,
        "images",
        """
        const make = async (width, height) => {
          const canvas = new OffscreenCanvas(width, height);
          const context = canvas.getContext('2d');
          for (let i = 0; i < 4000; i += 1) {
            context.fillStyle = `hsl(${i * 37} 90% ${i % 90}%)`;
            context.fillRect((i * 7919) % width, (i * 104729) % height, 40, 25);
          }
          return canvas.convertToBlob({type: 'image/png'});
        };
        const [large, small] = [await make(2400, 1600), await make(64, 48)];
        const fitted = await m.fitPicture(large, {maxBytes: 100_000});
        const same = await m.fitPicture(small, {maxBytes: 100_000});
        return {
          large: large.size, size: fitted.blob.size, type: fitted.blob.type,
          ratio: fitted.width / fitted.height,
          same: await Promise.all([small, same.blob].map(async blob => {
            const canvas = new OffscreenCanvas(64, 48), context = canvas.getContext('2d');
            context.drawImage(await createImageBitmap(blob), 0, 0);
            return context.getImageData(0, 0, 64, 48).data.join();
          })),
          base64: (await m.toBase64(same.blob)).slice(0, 4),
        };
        """,
    )
    assert found["large"] > 100_000 >= found["size"]
    assert found["ratio"] == pytest.approx(1.5, abs=0.02)
    assert (found["type"], found["base64"]) == ("image/jpeg", "iVBO")
    assert found["same"][0] == found["same"][1]


@pytest.mark.parametrize(
    ("name", "kind", "trailer"),
    [
        ("photo.jpg", "AVIF", b""),
        ("loop.webp", "WEBP", b""),
        ("loop.png", "PNG", b""),
        ("photo.jpg", "JPEG", b"SEFH" + bytes(900)),
        ("loop.gif", "GIF", b""),
    ],
)
def test_whatever_the_browser_shows_is_sent_as_the_server_reads_it(
    page: Page, name: str, kind: str, trailer: bytes
) -> None:
    pictures = [PIL.Image.new("RGB", (48, 32), colour) for colour in ((200, 40, 40), (40, 40, 200))]
    options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:]} if "loop" in name else {}
    buffer = io.BytesIO()
    pictures[0].save(buffer, kind, **options)
    data = buffer.getvalue() + trailer
    text = run(
        page,
        "images",
        """
        const bytes = Uint8Array.from(atob(x.data), c => c.charCodeAt(0));
        const file = new File([bytes], x.name, {type: x.type});
        return m.toBase64((await m.fitPicture(file, {maxBytes: 100_000})).blob);
        """,
        {
            "data": base64.b64encode(data).decode(),
            "name": name,
            "type": mimetypes.guess_type(name)[0] or "image/webp",
        },
    )
    picture = decode_base64_image(text)
    assert picture.size == (48, 32)
    red, green, blue = np.asarray(picture)[16, 24].tolist()
    assert red > 170
    assert max(green, blue) < 70


def test_a_file_that_is_no_picture_is_refused_in_words(page: Page) -> None:
    text = run(
        page,
        "images",
        """
        const file = new File(['no'], 'a.txt');
        return m.fitPicture(file, {maxBytes: 9}).catch(error => error.message);
        """,
    )
    assert text.startswith("“a.txt” is not a picture")


# The whole page -------------------------------------------------------------------------------------------


def test_the_page_starts_under_a_strict_policy_and_says_that_no_server_answers(
    page: Page, address: str
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None
    )
    page.goto(f"{address}index.html")
    expect(page.get_by_test_id("cover-title")).to_have_text("The server is not reachable")
    expect(page.get_by_test_id("cover-detail")).to_contain_text("Trying again in")
    expect(page.get_by_test_id("cover-start")).to_be_visible()
    assert page.evaluate("document.body.dataset.state") == "gone"
    assert page.evaluate("Object.keys(window).filter(name => /reactor/i.test(name))") == []
    assert errors == []


def test_every_module_of_the_page_is_named_for_preloading() -> None:
    html = (PAGE / "index.html").read_text()
    modules = {path.name: path.read_text() for path in PAGE.glob("*.js")}
    # Not a worker, another page, or what is loaded later.
    entries = ["begin.js", "app.js"]
    made = bundles(modules, entries, lambda name: name)
    text = "".join(made[entry] for entry in entries)
    first = set(re.findall(r"^const \$(\w+) = ", text, re.M)) - {"begin", "app"}
    assert {f"{name.replace('_', '-')}.js" for name in first} == set(
        re.findall(r'<link rel="modulepreload" href="([^"]*)">', html)
    )
    assert "http://" not in html
    assert "https://" not in html


def test_a_session_that_took_its_connection_along_was_not_given_up_for_being_empty(page: Page) -> None:
    body = """
        const loss = {why: 'the server closed the connection', atMs: new Date(2026, 1, 3, 14, 3, 12).getTime()};
        return m.endedMeanwhile(loss, loss.atMs + 700);
    """
    said = run(page, "words", body)
    assert said == "It ended at 14:03:12, and the connection with it. The operator's log says why."


# The model's values, the line, company ----------------------------------------------------------------


def followed(page: Page, steps: list[list[Any]]) -> list[Any]:
    """Return what a `Following` wrote at each of these steps, with the fields that it was to leave alone."""
    body = """
        const written = [];
        const following = new m.Following((told, edited) => written.push([told.values.x, [...edited]]));
        for (const [step, ...args] of x) following[step](...args);
        return written;
    """
    found = run(page, "following", body, steps)
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
    page: Page, steps: list[list[Any]], written: list[Any]
) -> None:
    assert followed(page, steps) == written


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
    page: Page, silent_ms: int, online: bool, lost: float, state: str
) -> None:
    now = {"silentMs": silent_ms, "online": online, "lost": lost}
    assert run(page, "line", "return m.judge(x).state", now) == state


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
    page: Page, before: tuple[int, int] | None, now: tuple[int, int], share: float
) -> None:
    packets = [each and {"packetsLost": each[0], "packetsReceived": each[1]} for each in (before, now)]
    assert run(page, "line", "return m.lostShare(...x)", packets) == share


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
def test_company_is_said_in_words(page: Page, viewers: int, drivers: int, driving: bool, text: str) -> None:
    here = {"viewers": viewers, "drivers": drivers, "driving": driving}
    assert run(page, "company", "return m.companyText(x)", here) == text
