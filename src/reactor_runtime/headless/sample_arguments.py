"""Arguments that a command's JSON Schema accepts, and some that it does not. Pure.

Two variants of each valid set, as different as the schema allows: what one user said must be told from what
another said. Covers what `schema` writes: the JSON types, enums, $defs, unions, pictures.
"""

from __future__ import annotations

from typing import Any, Final

from ..types import JsonObject

#: A red and a blue picture of 16x16 pixels: PNG in base64.
_PICTURES: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4nGM8YSPHQApgIkn1qIZRDUNKAwCqwwFCCmMqAwAAAABJRU5ErkJggg==",
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4nGOUsznBQApgIkn1qIZRDUNKAwCpbwFC9fgXLgAAAABJRU5ErkJggg==",
)
_TEXTS: Final = ("what the first user wrote", "something else entirely")


def valid(parameters: JsonObject, variant: int) -> JsonObject:
    """Return arguments for every parameter; `variant` 0 or 1."""
    found = _value(parameters, parameters.get("$defs", {}), variant, 0)
    return found if isinstance(found, dict) else {}


def invalid(parameters: JsonObject) -> list[JsonObject]:
    """Return sets of arguments that have to be refused: an unknown one, one missing, each of a wrong type."""
    good = valid(parameters, 0)
    wrong: list[JsonObject] = [{**good, "no_such_argument": 1}]
    wrong += [
        {name: value for name, value in good.items() if name != missing} for missing in _required(parameters)
    ]
    # No parameter takes an object with this key, unless it takes anything.
    wrong += [
        {**good, name: {"no": {"such": ["thing"]}}}
        for name, schema in parameters.get("properties", {}).items()
        if _is_plain(schema)
    ]
    return wrong


def _required(parameters: JsonObject) -> list[str]:
    found: list[str] = parameters.get("required", [])
    return found


def _is_plain(schema: JsonObject) -> bool:
    return schema.get("type") in ("string", "integer", "number", "boolean", "array") or "enum" in schema


def _value(schema: Any, definitions: JsonObject, variant: int, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > 12:
        return None
    if "$ref" in schema:
        return _value(definitions.get(schema["$ref"].rsplit("/", 1)[-1]), definitions, variant, depth + 1)
    if choices := schema.get("enum"):
        # The default comes last: a session that was told it looks like one that was told nothing.
        default = schema.get("default")
        ordered = sorted(choices, key=lambda choice: bool(choice == default))
        return ordered[variant % len(ordered)]
    for union in ("anyOf", "oneOf", "allOf"):
        if options := schema.get(union):
            # A picture as base64 rather than as an upload, which nobody sent.
            option = next((each for each in options if "contentEncoding" in each), options[0])
            return _value(option, definitions, variant, depth + 1)
    match schema.get("type"):
        case "object":
            return {
                name: _value(inner, definitions, variant, depth + 1)
                for name, inner in schema.get("properties", {}).items()
            }
        case "array":
            if "prefixItems" in schema:
                return [_value(item, definitions, variant, depth + 1) for item in schema["prefixItems"]]
            count = min(max(schema.get("minItems", 0), 1 + variant), schema.get("maxItems", 1 + variant))
            return [_value(schema.get("items"), definitions, variant, depth + 1)] * count
        case "boolean":
            return variant == 0
        case "integer":
            return round(_number(schema, variant, step=1))
        case "number":
            return _number(schema, variant, step=1e-3)
        case "string":
            return _text(schema, variant)
    return None


def _number(schema: JsonObject, variant: int, *, step: float) -> float:
    """Near one end of the range or the other, but not at it: ends are often special."""
    low: float | None = schema.get("minimum", schema.get("exclusiveMinimum"))
    high: float | None = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0.0 if high is None else high - 10
    if high is None:
        high = low + 10
    # A range of a million has its odd end: what a model allocates or computes for it is not what is checked.
    high = min(high, low + 1000)
    number = low + (high - low) * (0.8 if variant == 0 else 0.3)
    number = round(number / step) * step if high - low >= 4 * step else (high if variant == 0 else low)
    if multiple := schema.get("multipleOf"):
        number = round(number / multiple) * multiple
    return float(min(max(number, low), high))


def _text(schema: JsonObject, variant: int) -> str:
    if schema.get("contentEncoding") == "base64":
        return _PICTURES[variant]
    if schema.get("format") == "color":
        return ("#c04020", "#2040c0")[variant]
    text = _TEXTS[variant].ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]
