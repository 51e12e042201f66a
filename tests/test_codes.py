"""One list of codes: what server, page and templates say and match on is in it, and nothing else is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import code_table
import pytest

import reactor_runtime
from reactor_runtime import codes, errors
from reactor_runtime.codes import CODES

PACKAGE = Path(reactor_runtime.__file__).parent
ROOT = Path(__file__).parent.parent
ENDINGS = {code for code, meaning in CODES.items() if "ending" in meaning.seen}
#: Calls whose argument at this place is a code, and keywords that are one everywhere.
PLACES = {
    "CommandRefused": 2,
    "RequestRefused": 2,
    "RuntimeNotice": 0,
    "SessionEnded": 0,
    "_settle": 0,
    "_stop": 0,
}


def written_out(tree: ast.AST) -> list[str]:
    """Return the codes that a module writes as text instead of taking them from the list."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        if name in PLACES and len(node.args) > PLACES[name]:
            given.append(node.args[PLACES[name]])
        for value in given:
            constants = (each.value for each in ast.walk(value) if isinstance(each, ast.Constant))
            found += [each for each in constants if isinstance(each, str) and each]
    return found


@pytest.mark.parametrize("module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_writes_a_code_out(module: Path) -> None:
    if "template" not in module.parts and not module.name.endswith("_pb2.py") and module.stem != "testing":
        assert written_out(ast.parse(module.read_text())) == []


def test_the_search_for_codes_finds_those_that_are_written_out() -> None:
    source = 'say.SessionEnded(reason or "x")\nrefusal(1, "w", code="y")\nself.send(RuntimeNotice("z", text))'
    assert sorted(written_out(ast.parse(source))) == ["x", "y", "z"]


def test_every_error_has_a_code_of_the_list() -> None:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.ReactorError):
            assert kind.code in CODES, name


def test_every_code_of_the_list_is_used_and_has_a_name_that_says_it() -> None:
    names = {value: name for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)}
    assert names.keys() == CODES.keys()
    assert {value.replace(" ", "_").upper() for value in names} == set(names.values())
    sources = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.stem != "codes")
    assert [name for name in names.values() if f"codes.{name}" not in sources] == []


def test_the_page_has_words_for_every_ending_and_for_no_other() -> None:
    text = (PACKAGE / "server" / "page" / "words.js").read_text()
    assert keys_of(text, "export const ENDINGS = {") == ENDINGS


def test_the_templates_know_only_endings_of_the_list() -> None:
    text = (ROOT / "create-reactor-app/templates/common/src/useConnection.ts").read_text()
    found = keys_of(text, "const ENDINGS: Record<string, string> = {")
    assert found
    assert found <= ENDINGS


def keys_of(text: str, opening: str) -> set[str]:
    """Return the keys of an object literal in JavaScript that begins with this line."""
    _, _, rest = text.partition(opening)
    return set(re.findall(r'^\s*"?([a-z_ ]+?)"?: "', rest.partition("}")[0], re.MULTILINE))


def test_the_table_in_the_documents_is_the_list() -> None:
    text = code_table.PART.read()
    assert code_table.PART.put(text, code_table.table()) == text, "run tools/code_table.py"
