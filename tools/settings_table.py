"""Write the table of settings into docs/operate.md from `config.Settings`, so that it cannot rot.

Run it after a setting has changed; tests/test_docs.py fails until then.
"""

from __future__ import annotations

from typing import Any

from written_part import WrittenPart

from reactor_runtime.config import Settings, flag_of, variable_of

PART = WrittenPart("docs/operate.md", "settings", "Written by tools/settings_table.py.")


def table() -> str:
    """Return the settings as a Markdown table, in the order in which the class declares them."""
    lines = ["| flag | environment | default | values | what it is |", "|---|---|---|---|---|"]
    for name, schema in Settings.model_json_schema()["properties"].items():
        default = Settings.model_fields[name].default
        lines.append(
            f"| `{flag_of(name).name}` | `{variable_of(name)}` | {shown(default)} | {values(schema)} "
            f"| {schema.get('description', '')} |"
        )
    return "\n".join(lines)


def shown(default: Any) -> str:
    if default is None or default in ("", ()):
        return "–"
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def values(schema: dict[str, Any]) -> str:
    """Put a JSON Schema's type and range in words."""
    schema = next((each for each in schema.get("anyOf", []) if each["type"] != "null"), schema)
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    words = {
        "string": "text",
        "boolean": "on or off",
        "integer": "whole number",
        "array": "repeat; comma-separated",
    }
    text = words.get(schema["type"], schema["type"])
    bounds = [("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤")]
    limits = ", ".join(f"{sign} {schema[key]:g}" for key, sign in bounds if key in schema)
    return f"{text} {limits}".strip()


if __name__ == "__main__":
    PART.write(table())
