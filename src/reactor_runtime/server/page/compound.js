/** The inner controls of lists and nested objects, made of the controls of their parts. */

import { el, icon } from "./dom.js";
import { words } from "./labels.js";

/**
 * @typedef {import("./controls.js").Field} Field
 * @typedef {import("./controls.js").Options} Options
 * @typedef {import("./controls.js").Inner} Inner
 * @typedef {import("./controls.js").Control} Control
 */

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function listControl(field, options) {
  const rows = el("div", { class: "rows" });
  const { item, items = [] } = field;
  const fixed = !item;
  /** @type {Control[]} */
  let controls = [];
  /** @param {number} index */
  const label = (index) => `${words(field.name)} ${index + 1}`;
  /** @param {number} count */
  const isFull = (count) => fixed || (typeof field.maxItems === "number" && count >= field.maxItems);
  /**
   * @param {Field} part
   * @param {any} [value]
   */
  const add = (part, value) => {
    const index = controls.length;
    const control = options.makeControl(
      { ...part, label: label(index), path: `${field.path}.${index}`, description: "" },
      { ...options, plain: true },
    );
    if (value !== undefined) control.write(value);
    controls.push(control);
    const remove = fixed
      ? null
      : el(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": `Remove ${label(index)}`,
            on: { click: () => take(control) },
          },
          icon("close"),
        );
    control.row = el("div", { class: "row" }, control.element, control.beside, remove);
    rows.append(control.row);
    more.hidden = isFull(controls.length);
  };
  /** @param {Control} control */
  const take = (control) => {
    const values = controls.filter((other) => other !== control).map((other) => attempt(other));
    write(values);
    more.focus();
    options.onInput();
  };
  /** @param {any[]} values */
  const write = (values) => {
    controls = [];
    rows.replaceChildren();
    more.hidden = isFull(values.length);
    values.forEach((value, index) => add(item ?? items[index], value));
  };
  const more = el(
    "button",
    {
      type: "button",
      class: "quiet add",
      hidden: fixed,
      data: { testid: `add-${options.command}.${field.path}` },
      on: {
        click: () => {
          if (item) add(item);
          const first = controls.at(-1)?.element.querySelector("input, textarea, select");
          if (first instanceof HTMLElement) first.focus();
          options.onInput();
        },
      },
    },
    icon("plus"),
    "Add",
  );
  if (fixed)
    write(
      items.map((part, index) => (Array.isArray(field.default) ? field.default[index] : part.default)),
    );
  else write(Array.isArray(field.default) ? field.default : Array(field.minItems ?? 0).fill(undefined));
  return {
    element: el("div", { class: "list" }, rows, more),
    grouped: true,
    read: () => {
      if (controls.length === 0 && !field.required && !field.hasDefault) return undefined;
      return controls.map((control) => control.read()).filter((value) => value !== undefined);
    },
    write,
    refuse: (message, path) => passOn(controls, message, path),
  };
}

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function groupControl(field, options) {
  const controls = (field.fields ?? []).map((part) => options.makeControl(part, { ...options, plain: false }));
  /** @param {Record<string, any>} value */
  const write = (value) =>
    controls.forEach((control) => control.field.name in value && control.write(value[control.field.name]));
  if (typeof field.default === "object" && field.default !== null) write(field.default);
  return {
    element: el(
      "div",
      { class: "group" },
      controls.map((control) => control.element),
    ),
    grouped: true,
    read: () =>
      Object.fromEntries(
        controls
          .map((control) => [control.field.name, control.read()])
          .filter(([, value]) => value !== undefined),
      ),
    write,
    refuse: (message, path) => passOn(controls, message, path),
  };
}

/**
 * Hand a refusal to the control that `path` names or lies in. True when one took it.
 * @param {Control[]} controls
 * @param {string} message
 * @param {string} path
 */
export function passOn(controls, message, path) {
  const owner = controls.find(({ field }) => path === field.path || path.startsWith(`${field.path}.`));
  if (!owner) return false;
  owner.refuse(message, path === owner.field.path ? "" : path);
  return true;
}

/**
 * What a control holds, or undefined where it is not valid yet.
 * @param {Control} control
 */
function attempt(control) {
  try {
    return control.read();
  } catch {
    return undefined;
  }
}
