"""From a method's signature to a checked call: signature → pydantic model → JSON Schema, and back.

    class statement ──collect()──▶ {name: CommandDefinition}      once, when the class is made
    CommandCall ──definition.arguments()──▶ keyword arguments     per command, in the model process

Arguments are checked as JSON values: no "5" for an integer, no true for a number, no unknown keys, no NaN.
A number without a fraction is one value however it was written, because one of the two wire formats only
has doubles. Pure: any thread, no input or output.
"""

from __future__ import annotations

import inspect
import json
import math
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, PydanticJsonSchemaWarning
from pydantic_core import core_schema

from .. import limits
from ..errors import ModelDefinitionError
from ..types import CommandCall, CommandSpec, JsonObject
from . import arguments, show
from .documents import capabilities, openapi, snake_case

__all__ = [
    "CommandDefinition",
    "capabilities",
    "commands_of",
    "openapi",
    "reply_of",
]

#: Where `@command` leaves its mark on a function, and a class its commands.
MARK = "__reactor_command__"
COMMANDS = "__reactor_commands__"


@dataclass(frozen=True, slots=True)
class CommandMark:
    """What `@command` was given; "" stands for what the method itself says."""

    name: str
    description: str
    #: Words for a page: `label`, `hint`, `group`, `primary`.
    shown: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CommandDefinition:
    """One command of one model class. `method` names the attribute of the model to call."""

    name: str
    description: str
    method: str
    parameters: JsonObject
    reply: JsonObject | None
    is_async: bool
    shown: JsonObject
    _model: type[BaseModel]

    def arguments(self, call: CommandCall) -> dict[str, Any]:
        """Return the keyword arguments for `method`, every one of them valid.

        Raises CommandRejected with the first offending field, also where an author's own validator raised.
        """
        checked = arguments.check(call, self._model, self.parameters)
        return {name: getattr(checked, _PREFIX + name) for name in self.parameters["properties"]}

    @property
    def spec(self) -> CommandSpec:
        return CommandSpec(self.name, self.description, self.parameters, self.reply, self.shown)


def commands_of(model_class: type) -> dict[str, CommandDefinition]:
    """Return the commands of this class by name, its bases' included, as overridden."""
    found: dict[str, CommandDefinition] = getattr(model_class, COMMANDS)
    return dict(found)


def reply_of(value: object, *, type: str = "") -> tuple[str, JsonObject | None]:
    """Turn what a handler returned into the (type, data) of its reply; ("", None) acknowledges.

    A dict replies under `type`, a pydantic model under its class name in snake case. What numpy and torch
    compute with becomes numbers and lists. Raises TypeError for
    anything else: the mistake is the handler's, and not the client's.
    """
    if value is None:
        return "", None
    if isinstance(value, BaseModel):
        type, data = snake_case(value.__class__.__name__), value.model_dump(mode="json", fallback=jsonable)
    elif isinstance(value, dict):
        data = value
    else:
        raise TypeError(
            f"got {value.__class__.__name__} as a message; return None, a dict or a pydantic model"
        )
    try:
        text = json.dumps(data, allow_nan=False, default=jsonable)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"a message is JSON with finite numbers, and this is not: {error}") from None
    if len(text) > limits.MODEL_MESSAGE_MAX_BYTES:
        raise TypeError(f"a message has at most {limits.MODEL_MESSAGE_MAX_BYTES} bytes, got {len(text)}")
    plain: JsonObject = json.loads(text)
    return type, plain


def jsonable(value: Any) -> Any:
    """Return what JSON can say of a numpy scalar, an array, a tensor or a pydantic model. Raises TypeError."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", fallback=jsonable)
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not callable(getattr(value, "tolist", None)):
        raise TypeError(f"{value.__class__.__name__} is not a number, text, list or dict")
    if math.prod(shape) > limits.MODEL_MESSAGE_MAX_BYTES:
        raise TypeError(f"an array of shape {tuple(shape)} is too large for a message")
    return value.tolist()


# From a class to its commands ------------------------------------------------------------------------

_JSON_TYPES = "use JSON types, Literal, Enum, pydantic models, Image, and lists, dicts or Optional of them"
# Field names of the generated models carry a prefix, so that a parameter may be called `copy` or `_seed`.
_PREFIX = "arg_"


def collect(model_class: type, namespace: Mapping[str, Any]) -> dict[str, CommandDefinition]:
    """Make the definitions of a class that is being created. Raises ModelDefinitionError.

    A method is a command if it, or a method it overrides, is marked. The method that would run is the one
    that is described. `namespace` has the names that annotations written as text in this class may use.
    """
    definitions: dict[str, CommandDefinition] = {}
    for attribute in dict.fromkeys(name for base in reversed(model_class.__mro__) for name in vars(base)):
        mark = _mark_of(model_class, attribute)
        method = getattr(model_class, attribute, None)
        if mark is None or method is None:
            continue
        if not inspect.isfunction(method):
            raise ModelDefinitionError(
                f"{model_class.__name__}.{attribute} overrides a command with what is not a method.\n"
                "  Fix: override it with a method, or with None to take the command away."
            )
        definition = _inherited(model_class, attribute) or _define(
            f"{model_class.__name__}.{attribute}",
            method,
            mark=mark,
            namespace=namespace if attribute in vars(model_class) else {},
        )
        if clash := definitions.get(definition.name):
            raise ModelDefinitionError(
                f"{model_class.__name__} has two commands named {definition.name!r}: "
                f"the methods {clash.method} and {attribute}.\n  Fix: give one of them another name."
            )
        definitions[definition.name] = definition
    _check_primary(model_class, definitions)
    return definitions


def _check_primary(model_class: type, definitions: Mapping[str, CommandDefinition]) -> None:
    first = [name for name, definition in definitions.items() if definition.shown.get(show.PRIMARY)]
    if len(first) > 1:
        raise ModelDefinitionError(
            f"{model_class.__name__} has more than one primary command: {', '.join(first)}.\n"
            "  Fix: give primary=True to the one that a newcomer should use first."
        )


def _mark_of(model_class: type, attribute: str) -> CommandMark | None:
    for base in model_class.__mro__:
        mark = getattr(vars(base).get(attribute), MARK, None)
        if isinstance(mark, CommandMark):
            return mark
    return None


def _inherited(model_class: type, attribute: str) -> CommandDefinition | None:
    """Return the definition that a base made of this very method, where its annotations have a meaning."""
    owner = next(base for base in model_class.__mro__ if attribute in vars(base))
    definitions: Mapping[str, CommandDefinition] = vars(owner).get(COMMANDS, {})
    return next((found for found in definitions.values() if found.method == attribute), None)


def _define(
    where: str, method: Callable[..., Any], *, mark: CommandMark, namespace: Mapping[str, Any]
) -> CommandDefinition:
    attribute = where.rpartition(".")[2]
    name = mark.name or attribute
    if not name.isprintable() or len(name) > limits.COMMAND_NAME_MAX or "/" in name:
        raise ModelDefinitionError(
            f"{where}: {name!r} cannot be a command's name.\n"
            f"  Fix: use up to {limits.COMMAND_NAME_MAX} printable characters without '/'."
        )
    if inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
        raise ModelDefinitionError(
            f"{where} is a generator.\n  Fix: a command returns None, a dict or a model."
        )
    try:
        hints = typing.get_type_hints(method, localns=dict(namespace), include_extras=True)
    except Exception as error:
        raise ModelDefinitionError(
            f"{where}: an annotation cannot be resolved: {error}.\n"
            "  Fix: import the type at the top of the module, or define it before the class."
        ) from error
    fields = {
        _PREFIX + parameter.name: _field(where, parameter, hints)
        for parameter in list(inspect.signature(method).parameters.values())[1:]
    }
    checked_by, parameters = _compile(where, name, fields)
    parameters.pop("title", None)
    if twice := _exponential(parameters.get("$defs", {})):
        raise ModelDefinitionError(
            f"{where}: {' and '.join(twice)} are alternatives that contain themselves, which takes "
            "exponential time to check.\n  Fix: tell them apart with Field(discriminator=...)."
        )
    try:
        show.check_held(parameters)
        shown = show.of_command(**mark.shown)
    except show.Unshowable as error:
        raise ModelDefinitionError(f"{where}: {error}.\n  Fix: {error.fix}.") from None
    reply = hints.get("return")
    return CommandDefinition(
        name=name,
        description=mark.description or first_line(method),
        method=attribute,
        parameters=parameters,
        reply=_reply_schema(reply) if inspect.isclass(reply) and issubclass(reply, BaseModel) else None,
        is_async=inspect.iscoroutinefunction(method),
        shown=shown,
        _model=checked_by,
    )


def _field(where: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> tuple[Any, Any]:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise ModelDefinitionError(
            f"{where}: the parameter {parameter} cannot be described to clients.\n"
            "  Fix: name every parameter and annotate it, as in `strength: float = Field(0.5, ge=0, le=1)`."
        )
    if parameter.name not in hints:
        raise ModelDefinitionError(
            f"{where}: the parameter {parameter.name!r} has no type.\n"
            f"  Fix: annotate it, as in `{parameter.name}: str`."
        )
    default = ... if parameter.default is parameter.empty else parameter.default
    if isinstance(default, FieldInfo) and (default.alias or default.validation_alias):
        raise ModelDefinitionError(
            f"{where}: the parameter {parameter.name!r} has an alias.\n"
            "  Fix: drop the alias; clients use the parameter's own name."
        )
    try:
        return typing.Annotated[hints[parameter.name], Field(alias=parameter.name)], default
    except (TypeError, AttributeError):
        raise ModelDefinitionError(
            f"{where}: the type of the parameter {parameter.name!r} is {hints[parameter.name]!r}.\n"
            f"  Fix: annotate it with a type, as in `{parameter.name}: str`."
        ) from None


def _compile(where: str, name: str, fields: Mapping[str, Any]) -> tuple[type[BaseModel], JsonObject]:
    try:
        return _compile_all(name, fields)
    except Exception as error:
        for field, definition in fields.items():  # one by one, to name the parameter that is at fault
            try:
                _compile_all(name, {field: definition})
            except Exception as cause:
                reason = str(cause).partition("\n\nFor further information")[0]
                fix = getattr(cause, "fix", _JSON_TYPES)
                raise ModelDefinitionError(
                    f"{where}: the parameter {field.removeprefix(_PREFIX)!r} cannot be described to clients: "
                    f"{reason}\n  Fix: {fix}."
                ) from cause
        raise ModelDefinitionError(f"{where}: {error}") from error


def _compile_all(name: str, fields: Mapping[str, Any]) -> tuple[type[BaseModel], JsonObject]:
    config = ConfigDict(extra="forbid", strict=True, defer_build=False)
    model: type[BaseModel] = create_model(name, __config__=config, **fields)
    for field in model.model_fields.values():
        _check_default(field)
        _check_examples(field)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        return model, model.model_json_schema(schema_generator=_ParameterSchema)


def _check_default(field: FieldInfo) -> None:
    if field.is_required():
        return
    annotation: typing.Any = field.annotation
    only = create_model("Default", __config__=ConfigDict(validate_default=True), value=(annotation, field))
    try:
        only()
    except ValidationError as error:
        raise ValueError(f"its default is not valid: {error.errors()[0]['msg']}") from None


def _check_examples(field: FieldInfo) -> None:
    annotation: typing.Any = field.annotation
    strict = ConfigDict(strict=True)
    for example in [each for part in field.metadata if isinstance(part, show.Show) for each in part.examples]:
        only = create_model("Example", __config__=strict, value=(annotation, field))
        try:
            only.model_validate_json(json.dumps({field.alias: example}))
        except (ValidationError, TypeError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise show.Unshowable(
                f"the example {example!r:.60} is refused: {reason}", fix="give examples that it accepts"
            ) from None


class _ParameterSchema(GenerateJsonSchema):
    """JSON Schema as the checks really are: closed objects, and no titles that repeat a name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return self._closed(super().model_schema(schema))

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return self._closed(super().dataclass_schema(schema))

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return self._closed(super().typed_dict_schema(schema))

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        described = super().literal_schema(schema)
        if "const" in described:
            described["enum"] = [described.pop("const")]
        return described

    @staticmethod
    def _closed(described: JsonSchemaValue) -> JsonSchemaValue:
        if "properties" in described:
            described["additionalProperties"] = False
        return described


def _exponential(definitions: JsonObject) -> list[str]:
    """Return alternatives that lead back to where they stand: each level of nesting doubles the attempts."""
    for name, body in definitions.items():
        for choices in _alternatives(body):
            named = [choice["$ref"].rsplit("/", 1)[-1] for choice in choices if "$ref" in choice]
            recursive = [choice for choice in named if name in _reachable(choice, definitions)]
            if len(recursive) > 1:
                return recursive
    return []


def _alternatives(node: Any) -> Iterator[list[JsonObject]]:
    if isinstance(node, dict):
        if "anyOf" in node:
            yield node["anyOf"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _alternatives(item)


def _reachable(name: str, definitions: JsonObject) -> set[str]:
    waiting, seen = [name], {name}
    while waiting:
        text = json.dumps(definitions.get(waiting.pop(), {}))
        found = {other for other in definitions if f'"#/$defs/{other}"' in text} - seen
        seen |= found
        waiting.extend(found)
    return seen


def _reply_schema(reply: type[BaseModel]) -> JsonObject:
    return {**reply.model_json_schema(mode="serialization"), "title": reply.__name__}


def first_line(described: object) -> str:
    text = (inspect.cleandoc(described.__doc__) if described.__doc__ else "").strip()
    return text.split("\n", 1)[0].strip()
