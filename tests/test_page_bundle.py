"""The page's modules put together to one script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from reactor_runtime.server.page_bundle import Unbundled, bundles, squeezed
from reactor_runtime.server.routes_page import PAGE, page_files


def bundle(modules: Mapping[str, str], entry: str) -> str:
    return bundles(modules, [entry], lambda name: name)[entry]


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


CHUNKS = {
    "begin.js": 'import { a } from "./a.js";\nexport const begun = a;\n',
    "app.js": """import { begun } from "./begin.js";
import { a } from "./a.js";
export const open = () => import("./bar.js").then(a);
export const shut = () => import("./foo.js");
""",
    "a.js": "export const a = 1;\n",
    "bar.js": 'import { wear } from "./wear.js";\nimport { a } from "./a.js";\nwear("bar.css");\nexport const b = a;\n',
    "foo.js": 'import { wear } from "./wear.js";\nimport { only } from "./only.js";\nexport const c = wear(only);\n',
    "only.js": "export const only = 1;\n",
    "wear.js": "export const wear = (name) => name;\n",
}


def test_each_module_is_in_one_script_and_the_scripts_after_it_import_it_from_there() -> None:
    made = bundles(CHUNKS, ["begin.js", "app.js"], lambda name: f"1.{name}")
    assert made.keys() == {"begin.js", "app.js", "bar.js", "foo.js"}
    where = {
        module: [script for script in made if f"const ${module} = " in made[script]]
        for module in ("a", "begin", "app", "bar", "foo", "only", "wear")
    }
    assert where == {
        "a": ["begin.js"],
        "begin": ["begin.js"],
        "app": ["app.js"],
        "bar": ["bar.js"],
        "foo": ["foo.js"],
        "only": ["foo.js"],
        "wear": ["app.js"],  # two that are loaded later need it
    }
    assert 'import { $a, $begin } from "./1.begin.js";' in made["app.js"]
    assert 'import("./1.bar.js")' in made["app.js"]
    assert 'import { $a } from "./1.begin.js";' in made["bar.js"]
    assert 'import { $wear } from "./1.app.js";' in made["bar.js"]
    assert 'wear("1.bar.css")' in made["bar.js"]


def test_what_is_loaded_later_but_is_there_already_is_told_from_there() -> None:
    here = CHUNKS | {
        "bar.js": "export const b = 1;\n",
        "app.js": CHUNKS["app.js"] + 'import { c } from "./foo.js";\n',
    }
    made = bundles(here, ["begin.js", "app.js"], lambda name: name)
    assert made["foo.js"] == 'import { $foo } from "./app.js";\nexport const { c } = $foo;\n'
    assert "export { $foo };" in made["app.js"]


def test_what_is_loaded_later_and_is_not_there_is_named() -> None:
    with pytest.raises(Unbundled, match=r"no module is called gone\.js"):
        bundle({"app.js": 'export const b = () => import("./gone.js");\n'}, "app.js")


def test_a_changed_style_changes_the_names_of_all_that_lead_to_it(tmp_path: Path) -> None:
    def names(style: str) -> set[str]:
        page = '<link rel="icon" href="icon.svg">\n<link rel="stylesheet" href="a.css">\n'
        texts = {**CHUNKS, "index.html": page, "a.css": "", "icon.svg": "", "bar.css": style}
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        return {name for name, file in page_files(tmp_path).items() if file.lasting}

    before, after = names("p { color: red; }\n"), names("p { color: blue; }\n")
    assert len(before) == len(after) == 6
    assert before.isdisjoint(after)
