"""The page's modules put together to one script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reactor_runtime.server.page_bundle import Unbundled, bundle, squeezed
from reactor_runtime.server.routes_page import PAGE, page_files


def test_each_module_is_a_function_of_its_own_after_those_that_it_imports() -> None:
    modules = {
        "app.js": """/** Begins. */
import { a as first, B } from "./near-by.js";
export const made = new B(first());
""",
        "near-by.js": """// A reason.
const hidden = /** @type {any} */ (1); // stays
export function a() { return hidden; }
export class B {}
export async function c() {}
""",
    }
    assert (
        bundle(modules, "app.js")
        == """const $near_by = (() => {
const hidden = (1); // stays
function a() { return hidden; }
class B {}
async function c() {}
return { a, B, c };
})();
const $app = (() => {
const { a: first, B } = $near_by;
const made = new B(first());
return { made };
})();
export const { made } = $app;
"""
    )


@pytest.mark.parametrize(
    "line",
    [
        'import * as words from "./words.js";',
        'import Words from "./words.js";',
        'import "./words.js";',
        'import { a } from "https://elsewhere/words.js";',
        "export default class {}",
        "export let changing = 1;",
        'export { a } from "./words.js";',
        "  const words = await import(name);",
        '  const words = await import("https://elsewhere/words.js");',
        "const here = import.meta.url;",
    ],
)
def test_a_form_that_is_not_known_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(Unbundled, match=r"app\.js: "):
        bundle({"app.js": f"{line}\n", "words.js": "export const a = 1;\n"}, "app.js")


def test_a_circle_and_a_module_that_is_not_there_are_named() -> None:
    circle = {
        "app.js": 'import { b } from "./b.js";\nexport const a = 1;\n',
        "b.js": 'import { a } from "./app.js";\nexport const b = 1;\n',
    }
    with pytest.raises(Unbundled, match=r"circle: .*b\.js"):
        bundle(circle, "app.js")
    with pytest.raises(Unbundled, match=r"no module is called b\.js"):
        bundle({"app.js": circle["app.js"]}, "app.js")


def test_what_the_entry_does_not_need_is_left_out() -> None:
    modules = {"app.js": "export const a = 1;\n", "worker.js": "addEventListener('message', () => {});\n"}
    assert "worker" not in bundle(modules, "app.js")


def test_the_page_s_own_modules_make_the_same_script_each_time_without_a_comment_line() -> None:
    modules = {path.name: path.read_text() for path in PAGE.glob("*.js")}
    script = bundle(modules, "app.js")
    assert script == bundle(dict(reversed(modules.items())), "app.js")
    assert not any(line.lstrip().startswith(("//", "/*", "* ")) for line in script.splitlines())


def test_no_text_of_a_module_runs_over_several_lines_where_its_indent_would_be_lost() -> None:
    for path in PAGE.glob("*.js"):
        bare = re.sub(r"^\s*(?:/?\*|//).*$", "", path.read_text(), flags=re.M)
        odd = [line for line in bare.splitlines() if line.count("`") % 2]
        assert odd == [], path.name


def test_a_style_keeps_its_rules_and_loses_its_comments() -> None:
    style = "/* Why. */\na > b,\nc { color: red; margin: 0 1px; }\n@media (x) { d { e: calc(1px + 2px); } }\n"
    assert squeezed(style) == "\na > b,c{color: red;margin: 0 1px;}@media (x){d{e: calc(1px + 2px);}}"


LATER = {
    "index.html": '<script type="module" src="app.js"></script>\n',
    "app.js": 'import { a } from "./a.js";\nexport const open = () => import("./bar.js").then(a);\n',
    "a.js": "export const a = 1;\n",
    "bar.js": 'import { wear } from "./wear.js";\nimport { a } from "./a.js";\nwear("bar.css");\nexport const b = a;\n',
    "wear.js": "export const wear = (name) => name;\n",
    "bar.css": "p { color: red; }\n",
}


def pages(folder: Path, texts: dict[str, str]) -> dict[str, str]:
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: file.content.decode() for name, file in page_files(folder).items() if file.lasting}


def test_what_is_loaded_later_is_a_script_of_its_own_named_by_its_content(tmp_path: Path) -> None:
    made = pages(tmp_path, LATER)
    (app,) = (text for name, text in made.items() if name.startswith("/app."))
    (later,) = re.findall(r'import\("\./(bar\.\w+\.js)"\)', app)
    assert "wear" not in app, "the first load waits for none of it"
    bar = made["/" + later]
    (style,) = re.findall(r'wear\("(bar\.\w+\.css)"\)', bar)
    assert made["/" + style] == "p{color: red;}"
    assert "const $a = " in bar, "it brings what it imports"


def test_a_changed_style_changes_the_names_of_all_that_lead_to_it(tmp_path: Path) -> None:
    before, after = pages(tmp_path, LATER), pages(tmp_path, LATER | {"bar.css": "p { color: blue; }\n"})
    assert before.keys().isdisjoint(after.keys() - {name for name in after if name.startswith("/style")})


def test_modules_that_load_each_other_later_are_named(tmp_path: Path) -> None:
    with pytest.raises(Unbundled, match=r"circle: app\.js → bar\.js → app\.js"):
        pages(tmp_path, LATER | {"bar.js": 'export const b = () => import("./app.js");\n'})
    with pytest.raises(Unbundled, match=r"no module is called gone\.js"):
        pages(tmp_path, LATER | {"app.js": 'export const b = () => import("./gone.js");\n'})
