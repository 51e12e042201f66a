"""What a page shows of a command beside names, types and descriptions: words, examples, and what moves it.

    @command(label=..., hint=..., group=..., primary=...)   of the command   → x- keys of its operation
    Annotated[str, Show(...)]                               of an argument   → x- keys of its schema

`Show` is metadata of a type and changes nothing about the checks. Everything is judged when the class is made, so that
a page may believe what it reads; programs that do not know the keys ignore them. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from .. import limits
from ..types import CommandSpec, JsonObject

Direction = Literal["left", "right", "up", "down"]
_DIRECTIONS: Final = ("left", "right", "up", "down")
LABEL: Final = "x-label"
HINT: Final = "x-hint"
GROUP: Final = "x-group"
PRIMARY: Final = "x-primary"
PLACEHOLDER: Final = "x-placeholder"
ALSO_HELD: Final = "x-also-held"
LOOK: Final = "x-look"
INITIAL: Final = "x-initial"


class Unshowable(ValueError):
    """What was declared does not fit the argument that it stands on."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem)
        self.fix = fix


# Compared by identity: an argument's type is often a key of some cache, and a mapping has no hash.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Show:
    """Say how the page shows an argument: `prompt: Annotated[str, Show(placeholder="A red fox in snow")]`.

    `label` stands above the control; without it, the argument's name in words. `placeholder` is shown in a text
    field that is empty. `examples` are values to press, each of which the argument must accept.

    `also_held=True` is for the list of keys that are held beside those chosen: with `keyboard_key: Literal["W",
    "A", …]` beside it, W and A together arrive as `keyboard_key="A", also_held=["W"]`. `look` binds the argument to
    dragging over the picture: "x" or "y" for a number with two bounds, or the letter of each direction, as in
    `{"left": "J", "right": "L"}`.

    What does not fit the argument raises when the class is made.
    """

    label: str = ""
    placeholder: str = ""
    examples: Sequence[Any] = ()
    also_held: bool = False
    look: Literal["x", "y"] | Mapping[Direction, str] | None = None

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described = handler(core)
        plain = _without_null(handler.resolve_ref_schema(described), handler)
        if self.label:
            described[LABEL] = checked_text(self.label, "label", limits.SHOWN_LABEL_MAX)
        if self.placeholder:
            _need(plain.get("type") == "string", "a placeholder is for text", "drop it, or annotate `str`")
            described[PLACEHOLDER] = checked_text(
                self.placeholder, "placeholder", limits.SHOWN_PLACEHOLDER_MAX
            )
        if self.examples:
            described["examples"] = self._checked_examples()
        if self.also_held:
            _need(
                _letters(_items(plain, handler)) != (),
                "also_held is for a list of keys",
                'annotate a list of choices, as in `tuple[Literal["W", "A"], ...]`',
            )
            described[ALSO_HELD] = True
        if self.look is not None:
            described[LOOK] = self._checked_look(plain)
        return described

    def _checked_examples(self) -> list[Any]:
        _need(
            not isinstance(self.examples, str) and len(self.examples) <= limits.SHOWN_EXAMPLES_MAX,
            f"got {self.examples!r:.60} as examples",
            f"give a list of up to {limits.SHOWN_EXAMPLES_MAX} values",
        )
        return list(self.examples)

    def _checked_look(self, plain: JsonObject) -> Any:
        if isinstance(self.look, Mapping):
            letters = _letters(plain)
            _need(
                bool(self.look)
                and set(self.look) <= set(_DIRECTIONS)
                and set(self.look.values()) <= set(letters),
                f"look={dict(self.look)!r:.80} does not fit its choices {', '.join(letters) or '(none)'}",
                f"map some of {', '.join(_DIRECTIONS)} to choices of the argument",
            )
            return dict(self.look)
        _need(self.look in ("x", "y"), f"got look={self.look!r:.40}", 'use "x", "y" or a mapping of letters')
        bounds = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
        _need(
            plain.get("type") in ("number", "integer")
            and all(any(b in plain for b in end) for end in bounds),
            f"look={self.look!r} is for a number with two bounds",
            "annotate it, as in `look_x: float = Field(0, ge=-1, le=1)`",
        )
        return self.look


def of_command(*, label: str = "", hint: str = "", group: str = "", primary: bool = False) -> JsonObject:
    """Return the keys of a command's operation. Raises Unshowable."""
    _need(isinstance(primary, bool), f"got primary={primary!r:.40}", "use True or False")
    words = {
        LABEL: checked_text(label, "label", limits.SHOWN_LABEL_MAX),
        HINT: checked_text(hint, "hint", limits.SHOWN_LINE_MAX),
        GROUP: checked_text(group, "group", limits.SHOWN_LABEL_MAX),
    }
    return {key: text for key, text in words.items() if text} | ({PRIMARY: True} if primary else {})


def checked_text(text: object, what: str, most: int) -> str:
    """Return a line of text for people. Raises Unshowable."""
    _need(
        isinstance(text, str) and text.isprintable() and text.strip() == text and len(text) <= most,
        f"got {text!r:.60} as its {what}",
        f"use one line of up to {most} characters",
    )
    return str(text)


def check_held(parameters: JsonObject) -> None:
    """Judge the list of keys held beside others against the arguments it stands with. Raises Unshowable."""
    arguments = {name: _deref(part, parameters) for name, part in parameters["properties"].items()}
    lists = [name for name, part in parameters["properties"].items() if part.get(ALSO_HELD)]
    _need(len(lists) < 2, f"{' and '.join(lists)} are both also_held", "declare one list of keys per command")
    known = {letter for part in arguments.values() for letter in _letters(part)}
    for name in lists:
        held = _letters(_deref(arguments[name].get("items", {}), parameters))
        strange = [letter for letter in held if letter not in known]
        _need(
            not strange,
            f"{name} is also_held with {', '.join(strange)}, which no other argument has as a choice",
            "list only keys that an argument beside it offers",
        )


def with_initial(commands: Sequence[CommandSpec], values: object) -> tuple[CommandSpec, ...]:
    """Return the commands with what each is set to when a session begins. Raises Unshowable."""
    fix = 'write {"set_prompt": {"prompt": "a hill"}}: commands and arguments by name, JSON values'
    _need(isinstance(values, Mapping), f"got {values!r:.60} as initial_values", fix)
    given: dict[str, Any] = dict(values)  # type: ignore[call-overload]
    known = {spec.name: spec.parameters["properties"] for spec in commands}
    for name, arguments in given.items():
        _need(
            name in known and isinstance(arguments, Mapping),
            f"initial_values has no command {name!r:.60}",
            fix,
        )
        for argument, value in arguments.items():
            _need(argument in known[name], f"initial_values: {name} has no argument {argument!r:.60}", fix)
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                _need(False, f"initial_values: {name}.{argument} is {value!r:.60}", fix)
    return tuple(
        replace(
            spec,
            parameters={**spec.parameters, "properties": _set(known[spec.name], given.get(spec.name, {}))},
        )
        for spec in commands
    )


def _set(properties: JsonObject, values: Mapping[str, Any]) -> JsonObject:
    return {
        name: {**part, INITIAL: values[name]} if name in values else part for name, part in properties.items()
    }


def _need(holds: bool, problem: str, fix: str) -> None:
    if not holds:
        raise Unshowable(problem, fix=fix)


def _letters(schema: JsonObject) -> tuple[str, ...]:
    values = schema.get("enum", ())
    return tuple(values) if all(isinstance(value, str) for value in values) else ()


def _items(schema: JsonObject, handler: GetJsonSchemaHandler) -> JsonObject:
    return handler.resolve_ref_schema(schema["items"]) if isinstance(schema.get("items"), dict) else {}


def _without_null(schema: JsonObject, handler: GetJsonSchemaHandler) -> JsonObject:
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    return handler.resolve_ref_schema(choices[0]) if len(choices) == 1 else schema


def _deref(schema: JsonObject, parameters: JsonObject) -> JsonObject:
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    schema = choices[0] if len(choices) == 1 else schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    found: JsonObject = parameters.get("$defs", {}).get(name, schema)
    return found
