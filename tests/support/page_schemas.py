"""What models say of their commands, for tests of what the page makes of it.

fields = run("schema", "return m.readSchema(x).commands[0].fields;", parameter({"type": "integer"}))
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, Field

REFERENCE = {"type": "object", "format": "reactor-upload-reference", "required": ["upload_id"]}
UPLOAD = {"$ref": "#/components/schemas/ReactorUploadReference"}


def document(schema: dict[str, Any], *, name: str = "act", summary: str = "") -> dict[str, Any]:
    """Return the OpenAPI document of a model with one command."""
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    post = {"operationId": name, "summary": summary, "requestBody": body}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sky", "version": "v1.0.0"},
        "paths": {f"/events/{name}": {"post": post}},
        "components": {"schemas": {"ReactorUploadReference": REFERENCE}},
    }


def parameter(schema: dict[str, Any], *, name: str = "value", required: bool = True) -> dict[str, Any]:
    return document({"type": "object", "properties": {name: schema}, "required": [name] if required else []})


def choice(letters: str, description: str, name: str = "key") -> dict[str, Any]:
    schema = {"enum": list(letters), "description": description}
    return document({"type": "object", "properties": {name: schema}, "required": [name]})


#: A parameter of each kind: what it is, its name, its schema, and what the page reads.
KINDS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("short text", "name", {"type": "string", "maxLength": 40}, {"kind": "text", "maxLength": 40}),
    ("prompt", "prompt", {"type": "string"}, {"kind": "multiline"}),
    ("long text", "about", {"type": "string", "maxLength": 500}, {"kind": "multiline"}),
    ("short named text", "text", {"type": "string", "maxLength": 40}, {"kind": "text"}),
    ("colour", "tint", {"type": "string", "format": "color"}, {"kind": "color"}),
    ("free number", "angle", {"type": "number"}, {"kind": "number", "integer": False, "step": None}),
    (
        "number with both ends",
        "strength",
        {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
        {"kind": "slider", "min": 0, "max": 1, "step": 0.005, "default": 0.5},
    ),
    (
        "open ends",
        "x",
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
        {"kind": "slider", "min": 0.01, "max": 1.99},
    ),
    ("integer", "seed", {"type": "integer", "minimum": 0}, {"kind": "number", "integer": True, "min": 0}),
    (
        "integer with both ends",
        "count",
        {"type": "integer", "minimum": 1, "maximum": 8},
        {"kind": "slider", "integer": True, "step": 1},
    ),
    (
        "ends too far apart to aim",
        "frame",
        {"type": "integer", "minimum": 0, "maximum": 999_999},
        {"kind": "number", "min": 0, "max": 999_999},
    ),
    ("multiple", "x", {"type": "integer", "multipleOf": 8}, {"kind": "number", "step": 8}),
    ("switch", "on", {"type": "boolean", "default": True}, {"kind": "toggle", "default": True}),
    ("few choices", "style", {"enum": ["ink", "oil"]}, {"kind": "choice", "style": "pills"}),
    ("many choices", "style", {"enum": list("abcdefgh")}, {"kind": "choice", "style": "menu"}),
    ("one choice", "mode", {"const": "fast"}, {"kind": "choice"}),
    ("numbers to choose from", "size", {"enum": [256, 512]}, {"kind": "choice", "style": "pills"}),
    ("base64 by name", "base64_image", {"type": "string"}, {"kind": "image", "encoding": "base64"}),
    (
        "base64 by encoding",
        "start",
        {"type": "string", "contentEncoding": "base64"},
        {"kind": "image", "encoding": "base64"},
    ),
    ("name of a picture", "image_id", {"type": "string"}, {"kind": "text"}),
    ("uploaded picture", "image", UPLOAD, {"kind": "image", "encoding": "upload"}),
    ("uploaded file", "weights", UPLOAD, {"kind": "file", "encoding": "upload"}),
    (
        "picture either way",
        "start",
        {"anyOf": [UPLOAD, {"type": "string", "contentEncoding": "base64"}]},
        {"kind": "image", "encoding": "either"},
    ),
    (
        "list of numbers",
        "levels",
        {"type": "array", "items": {"type": "number"}, "maxItems": 4},
        {"kind": "list", "maxItems": 4},
    ),
    (
        "pair",
        "size",
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]},
        {"kind": "list", "minItems": 2},
    ),
    (
        "map",
        "weights",
        {"type": "object", "additionalProperties": {"type": "number"}},
        {"kind": "json"},
    ),
    (
        "number or integer",
        "x",
        {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        {"kind": "number", "integer": False},
    ),
    ("text or number", "x", {"anyOf": [{"type": "string"}, {"type": "number"}]}, {"kind": "json"}),
    (
        "optional number",
        "seed",
        {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        {"kind": "number", "nullable": True, "default": None, "hasDefault": True},
    ),
    ("type list with null", "x", {"type": ["string", "null"]}, {"kind": "text", "nullable": True}),
    ("enum with null", "x", {"enum": ["a", "b", None]}, {"kind": "choice", "nullable": True}),
]

MATRIX = {
    "type": "object",
    "properties": {
        "mouse_key": {"enum": list("JKLIU"), "description": "J=left, K=down, L=right, I=up, U=none"},
        "keyboard_key": {"enum": list("WASDQ"), "description": "W=forward, A=left, S=back, D=right, Q=none"},
    },
    "required": ["mouse_key", "keyboard_key"],
}


class Weather(Enum):
    CLEAR = "clear"
    RAIN = "rain"


class Light(BaseModel):
    angle: Annotated[float, Field(ge=0, le=360)] = 45
    soft: bool = True


class Scene(BaseModel):
    name: str
    weather: Weather = Weather.CLEAR
    lights: list[Light] = [Light()]
    seed: int | None = None
