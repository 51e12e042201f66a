/** Examples of one argument, to press instead of typing. */

import { el } from "./dom.js";

/** What has choices, or is too large to be read on a button, needs no examples. */
const KINDS = new Set(["text", "multiline", "number", "slider", "color"]);

/**
 * The row of a field's examples, or null when it has none.
 * @param {import("./schema.js").Field} field
 * @param {(example: any) => void} onPress
 */
export function examplesRow(field, onPress) {
  if (!KINDS.has(field.kind) || field.examples.length === 0) return null;
  return el(
    "ul",
    { class: "examples", "aria-label": `Examples: ${field.label}` },
    field.examples.map((example) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", class: "example", title: String(example), data: { testid: "example" }, on: { click: () => onPress(example) } },
          String(example),
        ),
      ),
    ),
  );
}
