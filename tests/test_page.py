"""The control page's modules in a real browser, from a plain file server, as a browser loads them.

What needs a running model is tested with the running runtime, and what needs no document in node (test_page_pure.py).
"""

from __future__ import annotations

import base64
import io
import mimetypes
import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import Page, sync_playwright
from pydantic import create_model
from support.chromium import ARGUMENTS, CHROMIUM
from support.page_schemas import KINDS, MATRIX, Scene, choice, document, parameter
from support.page_waits import expect

import reactor_runtime
from reactor_runtime import decode_base64_image
from reactor_runtime.server.page_bundle import bundles

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGE = Path(reactor_runtime.__file__).parent / "server" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:"
)


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


@pytest.fixture
def kept(browser_page: Page, address: str) -> Page:
    """The page of the test before, for what listens to nothing outside of `main`: it takes long to load."""
    if browser_page.url != address:
        browser_page.goto(address)
    browser_page.evaluate("document.querySelector('main').replaceChildren()")
    return browser_page


def run(page: Page, modules: str, body: str, argument: object = None) -> Any:
    """Run `body` with the exports of `modules` (names, comma-separated) as `m` and `argument` as `x`."""
    imports = ", ".join(f"await import('/{name.strip()}.js')" for name in modules.split(","))
    return page.evaluate(f"async x => {{ const m = Object.assign({{}}, {imports}); {body} }}", argument)


# Controls ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "schema"), [case[1:3] for case in KINDS], ids=[case[0] for case in KINDS])
def test_every_kind_of_parameter_gets_its_own_control(kept: Page, name: str, schema: dict[str, Any]) -> None:
    made = run(
        kept,
        "controls, schema",
        """
        const [field] = m.readSchema(x).commands[0].fields;
        const control = m.makeControl(field, {command: 'act', pictures: 1, onInput() {}});
        document.querySelector('main').append(control.element);
        return control.element.querySelectorAll('input, textarea, select, button').length;
        """,
        parameter(schema, name=name),
    )
    assert made > 0


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
    kept: Page, schema: dict[str, Any], fill: str, value: object
) -> None:
    assert filled(kept, schema, fill) == {"value": value, "left": False}


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
    kept: Page, schema: dict[str, Any], fill: str, problem: str
) -> None:
    assert filled(kept, schema, fill) == {"problem": problem, "path": "value"}


def test_an_empty_argument_that_is_not_required_is_left_out(kept: Page) -> None:
    assert filled(kept, {"type": "number"}, "", required=False) == {"value": None, "left": True}


def test_a_refusal_is_shown_at_the_nested_field_it_names(kept: Page) -> None:
    schema = create_model("act", scene=(Scene, ...)).model_json_schema()
    shown = run(
        kept,
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


def test_a_card_whose_keys_are_on_the_picture_leaves_no_empty_panel(page: Page) -> None:
    run(page, "commands, schema", PANEL, choice("WASDQ", ""))
    assert page.evaluate("[panel.clearAway(panel.keypads[0]), panel.isEmpty][1]") is False
    page.evaluate("panel.keypads[0].element.replaceChildren()")
    page.evaluate("panel.clearAway(panel.keypads[0])")
    assert page.evaluate("panel.isEmpty")


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


def test_directions_lie_at_the_same_place_of_every_keyboard(page: Page) -> None:
    run(
        page,
        "commands, schema, shortcuts",
        PANEL + "new m.Shortcuts({}, document.createElement('dl')).setModelKeys(panel.keypads);",
        document(MATRIX, name="control"),
    )
    said = page.evaluate(
        """(layouts) => layouts.map(([name, strokes]) => {
          sent.length = 0;
          for (const [key, code] of strokes)
            for (const type of ['keydown', 'keyup'])
              document.body.dispatchEvent(new KeyboardEvent(type, {key, code, bubbles: true}));
          return [name, sent.map(([, args]) => args.keyboard_key + args.mouse_key)];
        })""",
        LAYOUTS,
    )
    assert said == [[name, ["WU", "QU", "AU", "QU", "DU", "QU", "QL", "QU"]] for name, _ in LAYOUTS]


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


# Wire ---------------------------------------------------------------------------------------------------


# Words --------------------------------------------------------------------------------------------------


# Pictures -----------------------------------------------------------------------------------------------


def test_a_large_picture_is_scaled_to_fit_a_message_and_a_small_drawing_keeps_every_pixel(kept: Page) -> None:
    found = run(
        kept,
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
    kept: Page, name: str, kind: str, trailer: bytes
) -> None:
    pictures = [PIL.Image.new("RGB", (48, 32), colour) for colour in ((200, 40, 40), (40, 40, 200))]
    options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:]} if "loop" in name else {}
    buffer = io.BytesIO()
    pictures[0].save(buffer, kind, **options)
    data = buffer.getvalue() + trailer
    text = run(
        kept,
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


def test_a_file_that_is_no_picture_is_refused_in_words(kept: Page) -> None:
    text = run(
        kept,
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


# The model's values, the line, company ----------------------------------------------------------------
