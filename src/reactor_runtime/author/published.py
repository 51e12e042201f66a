"""Which commands may cross to the model: judged in the server, from the schemas that clients are told.

    Command ──▶ is there one of that name? ──▶ do its arguments fit the published schema? ──▶ host

The server imports no author code, so the schema is compiled once per session, by pydantic's validator, which
also gives a refusal the words that the model process would use. What JSON Schema says in another dialect
than pydantic (patterns, formats, distinct items, multiples) is left to the model process: it checks every
call again with the author's own types, and stays the authority. Pure; cheap beside the parsing before it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic_core import CoreSchema, SchemaError, SchemaValidator, ValidationError, core_schema

from ..errors import CommandRejected
from ..types import CommandSpec, JsonObject
from . import arguments

log = logging.getLogger(__name__)

_DEFINITION: Final = "#/$defs/"


class PublishedCommands:
    """The commands of one model. On the server's event loop."""

    def __init__(self, commands: Iterable[CommandSpec]) -> None:
        commands = tuple(commands)
        self._validators = {spec.name: _compile(spec) for spec in commands}
        self._parameters = {spec.name: spec.parameters.get("properties", {}) for spec in commands}

    def check(self, name: str, given: JsonObject, uploads: Mapping[str, JsonObject]) -> None:
        """Raise CommandRejected as the model would, for what it certainly would refuse.

        `uploads` has the references that came beside the arguments, by parameter.
        """
        validator = self._validators.get(name)
        if validator is None:
            raise CommandRejected("unknown command")
        if uploads:
            given = arguments.with_references(given, uploads, self._parameters[name])
        try:
            validator.validate_python(given)
        except ValidationError:
            pass
        else:
            return
        try:
            # Once more as JSON, so that the refusal has the words that the model process would use.
            validator.validate_json(json.dumps(given))
        except ValidationError as error:
            raise arguments.rejection(error, given) from None


def _compile(spec: CommandSpec) -> SchemaValidator:
    definitions = spec.parameters.get("$defs", {})
    try:
        named = [{**_core(body, definitions), "ref": name} for name, body in definitions.items()]
        whole = _core({"type": "object", **spec.parameters}, definitions)
        return SchemaValidator(core_schema.definitions_schema(whole, named))  # type: ignore[arg-type]
    except SchemaError:  # an author's own schema, with bounds that make no sense
        log.debug("the schema of command %r cannot be compiled", spec.name, exc_info=True)
        return SchemaValidator(core_schema.any_schema())


def _core(node: Any, definitions: JsonObject) -> CoreSchema:
    """Return pydantic's schema of a JSON Schema: never stricter than what pydantic made it from."""
    if not isinstance(node, dict):
        return core_schema.any_schema()
    if "$ref" in node:
        name = str(node["$ref"]).removeprefix(_DEFINITION)
        return (
            core_schema.definition_reference_schema(name) if name in definitions else core_schema.any_schema()
        )
    choices = node.get("anyOf") or node.get("oneOf")
    if not choices and isinstance(node.get("type"), list):
        choices = [{**node, "type": kind} for kind in node["type"]]
    if choices:
        return core_schema.union_schema(
            [_core(choice, definitions) for choice in choices], mode="left_to_right"
        )
    if "enum" in node or "const" in node:
        return _choice(node["enum"] if "enum" in node else [node["const"]])
    match node.get("type"):
        case "string":
            return core_schema.str_schema(strict=True, **_bounds(node, "minLength", "maxLength"))
        case "integer":
            return _integral(core_schema.int_schema(strict=True, **_range(node)))
        case "number":
            return core_schema.float_schema(strict=True, allow_inf_nan=False, **_range(node))
        case "boolean":
            return core_schema.bool_schema(strict=True)
        case "null":
            return core_schema.none_schema()
        case "array":
            return _array(node, definitions)
        case "object":
            return _object(node, definitions)
        case _:
            return core_schema.any_schema()


def _choice(values: list[Any]) -> CoreSchema:
    if not values or not all(isinstance(value, str | int | None) for value in values):
        return core_schema.any_schema()
    return _integral(core_schema.literal_schema(values))


def _integral(schema: CoreSchema) -> CoreSchema:
    """One of the two wire formats has only doubles."""
    return core_schema.no_info_before_validator_function(_as_integer, schema)


def _as_integer(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


def _array(node: JsonObject, definitions: JsonObject) -> CoreSchema:
    bounds = _bounds(node, "minItems", "maxItems")
    if node.get("uniqueItems"):  # a set is measured after what is twice in it has gone
        bounds = {}
    item = None if "prefixItems" in node else _core(node.get("items"), definitions)
    return core_schema.list_schema(item, strict=True, fail_fast=True, **bounds)


def _object(node: JsonObject, definitions: JsonObject) -> CoreSchema:
    more = node.get("additionalProperties")
    if not node.get("properties") and more is not False:
        values = _core(more, definitions)
        return core_schema.dict_schema(
            values_schema=values, strict=True, **_bounds(node, "minProperties", "maxProperties")
        )
    required = node.get("required", ())
    fields = {
        name: core_schema.typed_dict_field(_core(field, definitions), required=name in required)
        for name, field in node.get("properties", {}).items()
    }
    return core_schema.typed_dict_schema(
        fields, strict=True, extra_behavior="forbid" if more is False else "ignore"
    )


def _bounds(node: JsonObject, least: str, most: str) -> dict[str, Any]:
    """Rename what pydantic has under one name for text, lists and objects alike."""
    found = {"min_length": node.get(least), "max_length": node.get(most)}
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _range(node: JsonObject) -> dict[str, Any]:
    names = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}
    return {short: node[name] for name, short in names.items() if type(node.get(name)) in (int, float)}
