"""What clients are told of a model: its OpenAPI document and its capabilities.

Plain values in, JSON out; the server makes them from the `ModelInfo` that the model process sent, and never
from author code. Directions are the model's in the OpenAPI document and the client's in the capabilities.
"""

from __future__ import annotations

import re
from typing import Any

from ..types import CommandSpec, JsonObject, ModelInfo

UPLOAD_REFERENCE: JsonObject = {
    "type": "object",
    "format": "reactor-upload-reference",
    "properties": {
        "upload_id": {"type": "string", "format": "uuid"},
        "name": {"type": "string"},
        "mime_type": {"type": "string"},
        "size": {"type": "integer"},
    },
    "required": ["upload_id", "name", "mime_type", "size"],
}

_DEFINITION = "#/$defs/"
_COMPONENT = "#/components/schemas/"
_MODERATE = "x-reactor-moderate"


def snake_case(name: str) -> str:
    """StateReport → state_report: message types on the wire, from class names."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def openapi(info: ModelInfo) -> JsonObject:
    """Return the OpenAPI 3.1 document: one path per command, one webhook per message that is a reply."""
    components: dict[str, Any] = {"ReactorUploadReference": UPLOAD_REFERENCE}
    paths: JsonObject = {}
    webhooks: JsonObject = {}
    for command in info.commands:
        body = _parameters(command, components)
        paths[f"/events/{command.name}"] = {
            "post": {
                "operationId": command.name,
                "summary": command.description,
                **command.shown,
                "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                "responses": _responses(command, components, webhooks),
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": info.name,
            "version": info.version if info.version.startswith("v") else f"v{info.version}",
            "description": info.description,
        },
        "x-reactor": {
            "tracks": [
                {"name": track.name, "kind": track.kind, "direction": track.direction}
                for track in info.tracks
            ],
            **({"first_frame": info.first_frame} if info.first_frame else {}),
        },
        "paths": paths,
        "webhooks": webhooks,
        "components": {"schemas": components},
    }


def capabilities(info: ModelInfo) -> JsonObject:
    """Return the `capabilities` of a session descriptor, also the answer to JS 2.9.0's controller widget.

    A command's `schema` is flat, one entry per parameter with what the widget reads; `parameters` is the
    JSON Schema that the runtime checks against.
    """
    return {
        "protocol_version": "v0",
        "tracks": [
            {
                "name": track.name,
                "kind": track.kind,
                "direction": "recvonly" if track.direction == "out" else "sendonly",
            }
            for track in info.tracks
        ],
        "commands": [
            {
                "name": command.name,
                "description": command.description,
                "schema": _widget_parameters(command.parameters),
                "parameters": command.parameters,
            }
            for command in info.commands
        ],
        "emission_fps": info.fps,
    }


def _parameters(command: CommandSpec, components: JsonObject) -> JsonObject:
    renamed = _add_components(command.parameters, command.name, components)
    body: JsonObject = _moved(
        {key: value for key, value in command.parameters.items() if key != "$defs"}, renamed
    )
    for fragment in body["properties"].values():
        fragment.setdefault(_MODERATE, False)
    return body


def _responses(command: CommandSpec, components: JsonObject, webhooks: JsonObject) -> JsonObject:
    if command.reply is None:
        return {"202": {"description": "Command accepted"}}
    kind = str(command.reply["title"])
    renamed = _add_components(command.reply, command.name, components)
    body = _moved({key: value for key, value in command.reply.items() if key != "$defs"}, renamed)
    kind = _free_name(kind, body, command.name, components)
    components[kind] = body
    content = {"application/json": {"schema": {"$ref": _COMPONENT + kind}}}
    webhooks[snake_case(kind)] = {
        "post": {
            "requestBody": {"required": True, "content": content},
            "responses": {"200": {"description": "Message received"}},
        }
    }
    return {"200": {"description": kind, "content": content}}


def _add_components(schema: JsonObject, command: str, components: JsonObject) -> dict[str, str]:
    """Move a schema's definitions among the document's; return the names they have there."""
    definitions: JsonObject = schema.get("$defs", {})
    renamed = {name: _free_name(name, body, command, components) for name, body in definitions.items()}
    for name, body in definitions.items():
        components.setdefault(renamed[name], _moved(body, renamed))
    return renamed


def _free_name(name: str, body: Any, command: str, components: JsonObject) -> str:
    """Two commands may define different things of one name; the second is told apart by its command."""
    same = {name: name}
    taken = name in components and components[name] != _moved(body, same)
    return f"{name}_{command}" if taken and name != "ReactorUploadReference" else name


def _moved(node: Any, renamed: dict[str, str]) -> Any:
    """Copy a schema with its references pointing into the document's components."""
    if isinstance(node, list):
        return [_moved(item, renamed) for item in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _moved(value, renamed) for key, value in node.items()}
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith(_DEFINITION):
        name = reference.removeprefix(_DEFINITION)
        copy["$ref"] = _COMPONENT + renamed.get(name, name)
    return copy


_READ_BY_THE_WIDGET = ("type", "description", "default", "minimum", "maximum", "enum")


def _widget_parameters(parameters: JsonObject) -> JsonObject:
    definitions = parameters.get("$defs", {})
    required = parameters.get("required", ())
    return {
        name: {**_flat(fragment, definitions), "required": name in required}
        for name, fragment in parameters["properties"].items()
    }


def _flat(fragment: JsonObject, definitions: JsonObject) -> JsonObject:
    """Resolve references, and of alternatives take the last that is not null: base64 text for a picture."""
    described = dict(fragment)
    while "$ref" in described or "anyOf" in described:
        reference = described.pop("$ref", None)
        choices = [choice for choice in described.pop("anyOf", ()) if choice.get("type") != "null"]
        if reference is not None:
            inner = definitions.get(reference.removeprefix(_DEFINITION), {})
        else:
            inner = choices[-1] if choices else {}
        described = {**inner, **described}
    return {key: described[key] for key in _READ_BY_THE_WIDGET if key in described}
