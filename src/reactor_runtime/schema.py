"""From a method's signature to a checked call: signature → pydantic model → JSON Schema, and back.

    class statement ──collect()──▶ {name: CommandDefinition}      once, when the class is made
    CommandCall ──definition.arguments()──▶ keyword arguments     per command, in the model process
    class ──describe()──▶ ModelInfo                               plain values, which cross to the server

Arguments are checked as JSON values: no "5" for an integer, no true for a number, no unknown keys, no NaN.
A number without a fraction is one value however it was written, because one of the two wire formats only
has doubles. Pure: any thread, no input or output.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, PydanticJsonSchemaWarning
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from . import limits
from .documents import capabilities, openapi, snake_case
from .errors import CommandRejected, ModelDefinitionError
from .types import MAIN_VIDEO, WEBCAM, CommandCall, CommandSpec, JsonObject, ModelInfo, Track, UploadedFile

__all__ = [
    "CommandDefinition",
    "capabilities",
    "commands_of",
    "describe",
    "find_command",
    "openapi",
    "reply_of",
]

log = logging.getLogger(__name__)

#: Where `@command` leaves its mark on a function, and a class its commands.
MARK = "__reactor_command__"
COMMANDS = "__reactor_commands__"
#: Key of the validation context under which uploads are found by their id.
UPLOADS = "uploads"


@dataclass(frozen=True, slots=True)
class CommandMark:
    """What `@command` was given; "" stands for what the method itself says."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class CommandDefinition:
    """One command of one model class. `method` is the function of the class, to be bound to the model."""

    name: str
    description: str
    method: Callable[..., Any]
    parameters: JsonObject
    reply: JsonObject | None
    is_async: bool
    _model: type[BaseModel]

    def arguments(self, call: CommandCall) -> dict[str, Any]:
        """Return the keyword arguments for `method`, every one of them valid.

        Raises CommandRejected with the first offending field, also where an author's own validator raised.
        """
        given, uploads = _with_uploads(call, self.parameters["properties"])
        given = _as_json(given, ())
        _refuse_bool_for_number(given, self.parameters, self.parameters.get("$defs", {}))
        try:
            checked = self._model.model_validate_json(
                json.dumps(given), strict=True, extra="forbid", context={UPLOADS: uploads}
            )
        except ValidationError as error:
            raise _rejection(error, given) from None
        except CommandRejected:
            raise
        except Exception:
            log.exception("Checking the arguments of command %r failed", self.name)
            raise CommandRejected("the arguments could not be checked", code="internal_error") from None
        return {name: getattr(checked, _PREFIX + name) for name in self.parameters["properties"]}

    @property
    def spec(self) -> CommandSpec:
        return CommandSpec(self.name, self.description, self.parameters, self.reply)


def commands_of(model_class: type) -> dict[str, CommandDefinition]:
    """Return the commands of this class by name, its bases' included, as overridden."""
    found: dict[str, CommandDefinition] = getattr(model_class, COMMANDS)
    return dict(found)


def find_command(commands: Mapping[str, CommandDefinition], name: str) -> CommandDefinition:
    """Return the command of this name. Raises CommandRejected."""
    try:
        return commands[name]
    except KeyError:
        raise CommandRejected("unknown command") from None


def describe(
    model_class: type, *, name: str, version: str, fps: float | None = None, video_input: bool = False
) -> ModelInfo:
    """Say what clients can know of a model without constructing it."""
    from .model import VideoModel  # here, because model.py needs this module when a class is made

    tracks = [Track(MAIN_VIDEO, "video", "out")]
    if video_input or getattr(model_class, "on_frame", None) is not VideoModel.on_frame:
        tracks.append(Track(WEBCAM, "video", "in"))
    return ModelInfo(
        name=name,
        version=version,
        description=_first_line(model_class),
        tracks=tuple(tracks),
        commands=tuple(definition.spec for definition in commands_of(model_class).values()),
        fps=fps if fps is not None else getattr(model_class, "fps", None),
    )


def reply_of(value: object, *, command: str) -> tuple[str, JsonObject | None]:
    """Turn what a handler returned into the (type, data) of its reply; ("", None) acknowledges.

    A pydantic model replies with its class name in snake case, a dict with the command's name. Raises
    TypeError for anything else: the mistake is in the handler, and not the client's.
    """
    if value is None:
        return "", None
    if isinstance(value, BaseModel):
        kind, data = snake_case(type(value).__name__), value.model_dump(mode="json")
    elif isinstance(value, dict):
        kind, data = command, value
    else:
        raise TypeError(
            f"command {command!r} returned {type(value).__name__}; return None, a dict or a pydantic model"
        )
    try:
        text = json.dumps(data, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the reply of command {command!r} is not JSON: {error}") from None
    if len(text) > limits.MODEL_MESSAGE_MAX_BYTES:
        raise TypeError(
            f"the reply of command {command!r} has {len(text)} bytes, more than fit into a message"
        )
    return kind, json.loads(text)


# From a class to its commands ------------------------------------------------------------------------

# Field names of the generated models carry a prefix, so that a parameter may be called `copy` or `_seed`.
_PREFIX = "arg_"


def collect(model_class: type, namespace: Mapping[str, Any]) -> dict[str, CommandDefinition]:
    """Make the definitions of a class that is being created. Raises ModelDefinitionError.

    A method is a command if it, or the method it overrides, is marked; the one that would run is the one
    that is described. `namespace` are names that annotations written as text may use.
    """
    definitions: dict[str, CommandDefinition] = {}
    attributes = dict.fromkeys(name for base in reversed(model_class.__mro__) for name in vars(base))
    for attribute in attributes:
        mark = _mark_of(model_class, attribute)
        method = getattr(model_class, attribute, None)
        if mark is None or method is None:
            continue
        if not inspect.isfunction(method):
            raise ModelDefinitionError(
                f"{model_class.__name__}.{attribute} overrides a command with something that is not a method.\n"
                "  Fix: override it with a method, or with None to take the command away."
            )
        definition = _define(model_class, attribute, method, mark, namespace)
        clash = definitions.get(definition.name)
        if clash is not None:
            raise ModelDefinitionError(
                f"{model_class.__name__} has two commands named {definition.name!r}: "
                f"{clash.method.__qualname__} and {method.__qualname__}.\n  Fix: give one of them another name."
            )
        definitions[definition.name] = definition
    return definitions


def _mark_of(model_class: type, attribute: str) -> CommandMark | None:
    for base in model_class.__mro__:
        mark = getattr(vars(base).get(attribute), MARK, None)
        if isinstance(mark, CommandMark):
            return mark
    return None


def _define(
    model_class: type,
    attribute: str,
    method: Callable[..., Any],
    mark: CommandMark,
    namespace: Mapping[str, Any],
) -> CommandDefinition:
    where = f"{model_class.__name__}.{attribute}"
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
    arguments, parameters = _compile(where, name, fields)
    parameters.pop("title", None)
    reply = hints.get("return")
    return CommandDefinition(
        name=name,
        description=mark.description or _first_line(method),
        method=method,
        parameters=parameters,
        reply=_reply_schema(reply) if inspect.isclass(reply) and issubclass(reply, BaseModel) else None,
        is_async=inspect.iscoroutinefunction(method),
        _model=arguments,
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
    return typing.Annotated[hints[parameter.name], Field(alias=parameter.name)], default


def _compile(where: str, name: str, fields: Mapping[str, Any]) -> tuple[type[BaseModel], JsonObject]:
    try:
        return _compile_all(name, fields)
    except Exception as error:
        for field, definition in fields.items():  # one by one, to name the parameter that is at fault
            try:
                _compile_all(name, {field: definition})
            except Exception as cause:
                reason = str(cause).partition("\n\nFor further information")[0]
                raise ModelDefinitionError(
                    f"{where}: the parameter {field.removeprefix(_PREFIX)!r} cannot be described to clients: {reason}\n"
                    "  Fix: use JSON types, Literal, Enum, pydantic models, Image, or lists, dicts and Optional of them."
                ) from cause
        raise ModelDefinitionError(f"{where}: {error}") from error


def _compile_all(name: str, fields: Mapping[str, Any]) -> tuple[type[BaseModel], JsonObject]:
    config = ConfigDict(extra="forbid", strict=True, defer_build=False)
    arguments = create_model(name, __config__=config, **fields)
    for field in arguments.model_fields.values():
        _check_default(field)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PydanticJsonSchemaWarning)
        return arguments, arguments.model_json_schema(schema_generator=_ParameterSchema)


def _check_default(field: FieldInfo) -> None:
    if field.is_required():
        return
    only = create_model(
        "Default", __config__=ConfigDict(validate_default=True), value=(field.annotation, field)
    )
    try:
        only()
    except ValidationError as error:
        raise ValueError(f"its default is not valid: {error.errors()[0]['msg']}") from None


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


def _reply_schema(reply: type[BaseModel]) -> JsonObject:
    return {**reply.model_json_schema(mode="serialization"), "title": reply.__name__}


def _first_line(described: object) -> str:
    text = (inspect.cleandoc(described.__doc__) if described.__doc__ else "").strip()
    return text.split("\n", 1)[0].strip()


# From a call to its arguments ------------------------------------------------------------------------


def _with_uploads(
    call: CommandCall, properties: Mapping[str, Any]
) -> tuple[JsonObject, dict[str, UploadedFile]]:
    """Put a reference where an upload was named beside the arguments, which is how clients send them.

    An upload that is referred to from inside the arguments comes under its own id.
    """
    arguments = dict(call.arguments)
    uploads = {file.upload_id: file for file in call.uploads.values()}
    for name, file in call.uploads.items():
        if name in properties:
            arguments[name] = {
                "upload_id": file.upload_id,
                "name": file.name,
                "mime_type": file.mime_type,
                "size": len(file.data),
            }
        elif name != file.upload_id:
            raise CommandRejected(f"{_short(name)}: unexpected argument", field=_printable(name))
    return arguments, uploads


def _as_json(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return the value with integral numbers as integers. Raises CommandRejected for what is not JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not value.isascii():
            _refuse_surrogates(value, path)
        return value
    if isinstance(value, int | float):
        return _number(value, path)
    if not isinstance(value, list | tuple | dict):
        raise _rejected(path, f"{type(value).__name__} is not a JSON value")
    if len(path) >= limits.MESSAGE_MAX_DEPTH:
        raise _rejected(path[:4], f"nested deeper than {limits.MESSAGE_MAX_DEPTH} levels")
    if not isinstance(value, dict):
        return [_as_json(item, (*path, index)) for index, item in enumerate(value)]
    for key in value:
        if not isinstance(key, str):
            raise _rejected(path, f"{type(key).__name__} is not a key of a JSON object")
        _refuse_surrogates(key, path)
    return {key: _as_json(item, (*path, key)) for key, item in value.items()}


def _number(value: int | float, path: tuple[str | int, ...]) -> int | float:
    try:
        as_double = float(value)
    except OverflowError:
        as_double = math.inf
    if not math.isfinite(as_double):
        raise _rejected(path, "not a finite number that fits a double")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_surrogates(text: str, path: tuple[str | int, ...]) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _rejected(path, "text with half a surrogate pair") from None


def _refuse_bool_for_number(given: JsonObject, schema: JsonObject, definitions: JsonObject) -> None:
    """Pydantic compares the choices of an Enum or a Literal with ==, which takes true for 1."""
    path = _misplaced_bool(given, schema, definitions)
    if path is not None:
        raise _rejected(path, "a boolean is not one of the choices")


def _misplaced_bool(value: Any, schema: Any, definitions: JsonObject) -> tuple[str | int, ...] | None:
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        return _misplaced_bool(value, definitions.get(schema["$ref"].rsplit("/", 1)[-1]), definitions)
    for choices in (schema.get("anyOf"), schema.get("oneOf")):
        if choices:
            found = [_misplaced_bool(value, choice, definitions) for choice in choices]
            return None if None in found else found[0]
    if isinstance(value, bool):
        allowed = any(choice is value for choice in schema.get("enum", (value,)))
        return None if allowed else ()
    children: list[tuple[str | int, Any, Any]] = []
    if isinstance(value, dict):
        rest = schema.get("additionalProperties")
        known = schema.get("properties", {})
        children = [(key, item, known.get(key, rest)) for key, item in value.items()]
    elif isinstance(value, list):
        first = schema.get("prefixItems", [])
        children = [
            (i, item, first[i] if i < len(first) else schema.get("items")) for i, item in enumerate(value)
        ]
    for key, item, described in children:
        inner = _misplaced_bool(item, described, definitions)
        if inner is not None:
            return (key, *inner)
    return None


# From a failed check to words --------------------------------------------------------------------------


def _rejection(error: ValidationError, given: JsonObject) -> CommandRejected:
    """Pick the error that got furthest into the arguments: in a union the other branches are noise."""
    located = [
        (_path_in(detail, given), detail) for detail in error.errors(include_url=False, include_context=True)
    ]
    path, detail = max(located, key=lambda item: len(item[0]))
    kind = detail["type"]
    if kind == "missing":
        return _rejected(path, "missing argument")
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return _rejected(path, "unexpected argument")
    cause = detail.get("ctx", {}).get("error")
    reason = str(cause) if kind == "value_error" else detail["msg"].removeprefix("Input should be ")
    expected = "" if reason == detail["msg"] or kind == "value_error" else "should be "
    got = "" if isinstance(detail["input"], dict | list) else f", got {_short(detail['input'])}"
    return _rejected(path, f"{expected}{reason}{got}")


def _path_in(detail: ErrorDetails, given: JsonObject) -> tuple[str | int, ...]:
    """Keep of pydantic's location what is a path into the arguments: it names union branches too."""
    path: list[str | int] = []
    here: Any = given
    location = detail["loc"]
    for position, step in enumerate(location):
        if isinstance(here, dict) and step in here and isinstance(step, str):
            here = here[step]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        elif not (detail["type"] == "missing" and position == len(location) - 1):
            continue
        path.append(step)
    return tuple(path)


def _rejected(path: tuple[str | int, ...], reason: str) -> CommandRejected:
    field = _printable(".".join(map(str, path)))
    return CommandRejected(f"{field}: {reason}" if field else reason, field=field)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _printable(text: str) -> str:
    """Cut and escape a client's text, so that it can go into a log line and back over the wire."""
    return text[:200].encode("utf-8", "backslashreplace").decode()
