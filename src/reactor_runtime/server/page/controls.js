/**
 * One form control per field of a command.
 *
 * `makeControl(field, options)` returns {element, read(), write(value), refuse(message, path)}. `read()`
 * returns the value, `undefined` to leave the argument out, or throws `FieldProblem`; a file that must be
 * uploaded first reads as `Upload`. `options.onInput()` is called on every change by hand.
 */

import { groupControl, listControl } from "./compound.js";
import { el, uniqueId } from "./dom.js";
import { examplesRow } from "./examples.js";
import {
  jsonControl,
  menuControl,
  numberControl,
  pillsControl,
  sliderControl,
  textControl,
  toggleControl,
} from "./inputs.js";
import { pictureControl } from "./picture.js";

/**
 * @typedef {import("./schema.js").Field} Field
 *
 * @typedef {object} Wishes what a card wants of its controls
 * @property {string} command
 * @property {() => void} onInput
 * @property {() => void} [onExample] an example was filled in
 * @property {"plain" | "modified"} [onEnter] which Enter sends a long text
 * @property {number} [pictures] how many pictures share one message
 * @property {boolean} [plain] hides the label
 *
 * @typedef {Wishes & {id: string, makeControl: typeof makeControl}} Options
 *
 * @typedef {object} Inner
 * @property {HTMLElement} element
 * @property {HTMLElement[]} [targets]
 * @property {HTMLElement} [aside]
 * @property {boolean} [grouped]
 * @property {() => any} read
 * @property {(value: any) => void} write
 * @property {(message: string, path: string) => boolean} [refuse]
 * @property {(blob: File) => void} [accepts]
 * @property {(named: import("./following.js").Named | null) => void} [named] what is with the model and is only named
 * @property {() => string} [fileName] of the file that it holds
 *
 * @typedef {object} Control
 * @property {Field} field
 * @property {HTMLElement} element
 * @property {HTMLElement[]} beside
 * @property {HTMLElement} body
 * @property {HTMLElement | null} hint
 * @property {() => any} read
 * @property {(value: any) => void} write
 * @property {(value: any) => void} follow writes what the model has, unless it is here already
 * @property {Inner["named"]} named
 * @property {(message: string, path?: string) => void} refuse
 * @property {() => void} clear
 * @property {((blob: File) => void) | undefined} accepts
 * @property {string} fileName of the file that it holds
 * @property {HTMLElement} [row] the row of a list that it stands in
 */

/**
 * @param {Field} field
 * @param {Wishes} options
 * @returns {Control}
 */
export function makeControl(field, options) {
  const id = uniqueId("f");
  const make = MAKERS[field.kind] ?? jsonControl;
  // Lists and groups make the controls of their parts with the same function.
  const inner = make(field, { ...options, id, makeControl });
  return frame(field, inner, { ...options, id });
}

/** @type {Record<string, (field: Field, options: Options) => Inner>} */
const MAKERS = {
  text: textControl,
  multiline: textControl,
  color: textControl,
  number: numberControl,
  slider: sliderControl,
  toggle: toggleControl,
  choice: (field, options) =>
    field.style === "pills" ? pillsControl(field, options) : menuControl(field, options),
  image: pictureControl,
  file: pictureControl,
  list: listControl,
  group: groupControl,
  json: jsonControl,
};

/**
 * Label, hint, the "set" switch of optional fields, and the place for what is wrong.
 * @param {Field} field
 * @param {Inner} inner
 * @param {Wishes & {id: string}} options
 * @returns {Control}
 */
function frame(field, inner, { id, command, onInput, onExample, plain }) {
  const grouped = inner.grouped === true;
  const testid = `field-${command}.${field.path}`;
  const hintId = `${id}-hint`;
  const problemId = `${id}-problem`;
  const hint = hintText(field);
  const problem = el("p", {
    class: "problem",
    id: problemId,
    hidden: true,
    data: { testid: `problem-${command}.${field.path}` },
  });
  const optional = field.nullable;
  const set =
    optional &&
    el("input", {
      type: "checkbox",
      class: "switch small",
      checked: field.default != null,
      "aria-label": `Set ${field.label}`,
      data: { testid: `set-${command}.${field.path}` },
    });
  const label = grouped
    ? el("legend", { class: plain ? "visually-hidden" : "label" }, field.label)
    : el("label", { class: plain ? "visually-hidden" : "label", htmlFor: id }, field.label);
  const note = optional ? el("span", { class: "tag" }, "optional") : null;
  const beside = [inner.aside, note, set].filter((part) => part instanceof HTMLElement);
  const heading = !grouped && !plain ? label : null;
  const head =
    (heading || (beside.length > 0 && !plain)) &&
    el("div", { class: "field-head" }, heading, plain ? null : beside);
  const body = el("div", { class: "field-body" }, inner.element);
  const foot = hint ? el("p", { class: "hint", dir: "auto", id: hintId }, hint) : null;
  const element = el(
    grouped ? "fieldset" : "div",
    { class: "field", data: { kind: field.kind, testid } },
    heading ? null : label,
    head,
    body,
    examplesRow(field, (example) => {
      control.write(example);
      onInput();
      onExample?.();
    }),
    foot,
    problem,
  );
  const described = [hint ? hintId : "", problemId].join(" ").trim();
  for (const target of inner.targets ?? []) target.setAttribute("aria-describedby", described);

  const enable = () => {
    const off = set && !set.checked;
    body.inert = Boolean(off);
    element.classList.toggle("unset", Boolean(off));
  };
  if (set) {
    set.addEventListener("change", () => {
      enable();
      clear();
      onInput();
    });
    enable();
  }
  const clear = () => {
    problem.hidden = true;
    problem.textContent = "";
    for (const target of inner.targets ?? []) target.removeAttribute("aria-invalid");
  };
  element.addEventListener("input", clear);
  const read = () => (set && !set.checked ? null : inner.read());
  /** @param {any} value */
  const write = (value) => {
    if (set) set.checked = value !== null && value !== undefined;
    if (value !== null && value !== undefined) inner.write(value);
    if (set) enable();
    clear();
  };
  /** @type {Control} */
  const control = {
    field,
    element,
    /**
     * Parts that a card with one field places itself: what belongs beside its title, and the body and hint.
     */
    beside: plain ? beside : [],
    body,
    hint: foot,
    read,
    write,
    follow: (value) => {
      // Written again, a text would lose its cursor and a list its rows.
      if (!same(read, value)) write(value);
    },
    named: inner.named,
    /** Show what is wrong here, or in the part of this field that `path` names. */
    refuse: (message, path = "") => {
      if (path && inner.refuse?.(message, path)) return;
      problem.textContent = message;
      problem.hidden = false;
      for (const target of inner.targets ?? []) target.setAttribute("aria-invalid", "true");
      // Lead whoever pressed the button to the mistake, but take the cursor from nobody else.
      if (
        document.activeElement instanceof HTMLButtonElement &&
        document.activeElement.type === "submit" &&
        element.closest("form")?.contains(document.activeElement)
      ) {
        inner.targets?.[0]?.focus();
      }
    },
    clear,
    accepts: inner.accepts,
    get fileName() {
      return inner.fileName?.() ?? "";
    },
  };
  return control;
}

/**
 * Whether a control holds this value; what it cannot read, it does not hold.
 * @param {() => unknown} read
 * @param {unknown} value
 */
function same(read, value) {
  try {
    return JSON.stringify(read()) === JSON.stringify(value);
  } catch {
    return false;
  }
}

/**
 * Description, range and default, in one line.
 * @param {Field} field
 */
function hintText(field) {
  const parts = [];
  if (field.description) parts.push(field.description.replace(/\.$/, ""));
  if (field.kind === "number" && (field.min !== null || field.max !== null)) {
    parts.push(
      field.max === null
        ? `at least ${field.min}`
        : field.min === null
          ? `at most ${field.max}`
          : `${field.min} to ${field.max}`,
    );
  }
  if (field.kind === "slider") parts.push(`${field.min} to ${field.max}`);
  if (field.minLength && field.minLength > 1) parts.push(`at least ${field.minLength} characters`);
  if (field.maxLength) parts.push(`up to ${field.maxLength} characters`);
  if (field.kind === "list" && field.item && (field.minItems || field.maxItems)) {
    parts.push(
      field.maxItems === null
        ? `at least ${field.minItems}`
        : `${field.minItems} to ${field.maxItems} entries`,
    );
  }
  const shown =
    ["string", "number", "boolean"].includes(typeof field.default) &&
    field.default !== "" &&
    String(field.default).length <= 40;
  if (field.hasDefault && shown)
    parts.push(`default ${field.default === true ? "on" : field.default === false ? "off" : field.default}`);
  return parts.join(" · ");
}
