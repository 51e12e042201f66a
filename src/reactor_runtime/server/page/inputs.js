/**
 * The inner controls of single values. Each maker returns {element, targets, read(), write(value)}, and where
 * it has them `aside`, a part that belongs beside the label, and `grouped`, when it is several inputs under
 * one legend.
 */

import { announce } from "./announcer.js";
import { el, icon } from "./dom.js";
import { FieldProblem } from "./problem.js";
import { tidy } from "./schema.js";

/**
 * @typedef {import("./controls.js").Field} Field
 * @typedef {import("./controls.js").Options} Options
 * @typedef {import("./controls.js").Inner} Inner
 */

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function textControl(field, { id, onInput, onEnter }) {
  const long = field.kind === "multiline";
  const limits = {
    maxLength: field.maxLength ?? undefined,
    placeholder: field.placeholder || undefined,
    dir: "auto",
  };
  /** @type {HTMLInputElement | HTMLTextAreaElement} */
  const input = long
    ? el("textarea", { id, rows: 3, spellcheck: true, ...limits })
    : el("input", { id, type: field.kind === "color" ? "color" : "text", autocomplete: "off", ...limits });
  const counter = field.maxLength ? lengthCounter(field.maxLength) : null;
  if (typeof field.default === "string") input.value = field.default;
  counter?.show(input.value);
  input.addEventListener("input", () => {
    counter?.show(input.value);
    onInput();
  });
  input.addEventListener("keydown", (given) => {
    const event = /** @type {KeyboardEvent} */ (given);
    if (event.key !== "Enter" || event.isComposing) return;
    if (long && (event.shiftKey || (onEnter === "modified" && !event.ctrlKey && !event.metaKey))) return;
    event.preventDefault();
    input.form?.requestSubmit();
  });
  return {
    element: input,
    aside: counter?.element,
    targets: [input],
    read: () => {
      const text = input.value;
      if (text === "" && !field.required && field.kind !== "color") return field.hasDefault ? "" : undefined;
      if (text === "" && (field.minLength ?? 0) > 0)
        throw new FieldProblem(field.path, "Enter some text first.");
      if (text.length < (field.minLength ?? 0))
        throw new FieldProblem(field.path, `At least ${field.minLength} characters, please.`);
      return text;
    },
    write: (value) => {
      input.value = String(value);
      counter?.show(input.value);
    },
  };
}

/**
 * How much of a text's room is taken. The hint says how much there is, and a full one is read out.
 * @param {number} most
 */
function lengthCounter(most) {
  const element = el("span", { class: "tag counter", "aria-hidden": "true" });
  return {
    element,
    /** @param {string} text */
    show: (text) => {
      const full = text.length >= most;
      if (full && element.dataset.full === "false") announce(`No more than ${most} characters fit.`);
      element.dataset.full = String(full);
      element.textContent = `${text.length} / ${most}`;
    },
  };
}

/**
 * Text → number within the field's range, or words.
 * @param {Field} field
 * @param {HTMLInputElement} input
 */
function readNumber(field, input) {
  const text = input.value.trim();
  if (text === "" && !input.validity.badInput) {
    if (!field.required) return undefined;
    throw new FieldProblem(field.path, "Enter a number first.");
  }
  const value = Number(text);
  if (!Number.isFinite(value) || input.validity.badInput)
    throw new FieldProblem(field.path, "This is not a number.");
  if (field.integer && !Number.isInteger(value))
    throw new FieldProblem(field.path, "A whole number, please.");
  if (typeof field.min === "number" && value < field.min)
    throw new FieldProblem(field.path, `At least ${field.min}, please.`);
  if (typeof field.max === "number" && value > field.max)
    throw new FieldProblem(field.path, `At most ${field.max}, please.`);
  return value;
}

/**
 * @param {Field} field
 * @param {Options} options
 * @param {Record<string, any>} [extra]
 */
function numberInput(field, { id, onInput }, extra = {}) {
  const input = el("input", {
    id,
    type: "number",
    class: "number",
    inputMode: field.integer ? "numeric" : "decimal",
    step: field.integer ? "1" : "any",
    min: field.min ?? undefined,
    max: field.max ?? undefined,
    autocomplete: "off",
    ...extra,
  });
  if (typeof field.default === "number") input.value = String(field.default);
  input.addEventListener("input", onInput);
  return input;
}

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function numberControl(field, options) {
  const input = numberInput(field, options);
  const step = field.step ?? 1;
  /** @param {number} sign */
  const by = (sign) => () => {
    const from = Number(input.value) || 0;
    const next = tidy(from + sign * step);
    input.value = String(Math.min(field.max ?? Infinity, Math.max(field.min ?? -Infinity, next)));
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  /**
   * @param {string} name
   * @param {string} label
   * @param {number} sign
   */
  const button = (name, label, sign) =>
    el(
      "button",
      {
        type: "button",
        class: "step",
        tabIndex: -1,
        "aria-label": `${label} ${field.label}`,
        on: { click: by(sign) },
      },
      icon(name),
    );
  return {
    element: el(
      "div",
      { class: "stepper" },
      button("minus", "Decrease", -1),
      input,
      button("plus", "Increase", 1),
    ),
    targets: [input],
    read: () => readNumber(field, input),
    write: (value) => {
      input.value = String(value);
    },
  };
}

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function sliderControl(field, options) {
  const { min, max } = field;
  if (typeof min !== "number" || typeof max !== "number") throw new Error("a slider has two ends");
  const start = typeof field.default === "number" ? field.default : tidy(min);
  const range = el("input", {
    id: options.id,
    type: "range",
    min,
    max,
    step: field.step,
    value: start,
    data: { testid: `slider-${options.command}.${field.path}` },
  });
  const exact = numberInput(
    field,
    { ...options, id: `${options.id}-exact` },
    { class: "exact", "aria-label": `${field.label}, exact value` },
  );
  exact.value = String(start);
  const fill = () => {
    const share = (Number(range.value) - min) / (max - min);
    range.style.setProperty("--fill", `${Math.min(1, Math.max(0, share)) * 100}%`);
  };
  range.addEventListener("input", () => {
    exact.value = String(tidy(Number(range.value)));
    fill();
    options.onInput();
  });
  exact.addEventListener("input", () => {
    if (exact.value !== "") range.value = exact.value;
    fill();
  });
  fill();
  return {
    element: range,
    aside: exact,
    targets: [exact, range],
    read: () => readNumber(field, exact),
    write: (value) => {
      exact.value = String(value);
      range.value = String(value);
      fill();
    },
  };
}

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function toggleControl(field, { id, onInput }) {
  const input = el("input", {
    id,
    type: "checkbox",
    role: "switch",
    class: "switch",
    checked: field.default === true,
  });
  input.addEventListener("change", onInput);
  return {
    element: el("span", { hidden: true }),
    aside: input,
    targets: [input],
    read: () => input.checked,
    write: (value) => {
      input.checked = Boolean(value);
    },
  };
}

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function pillsControl(field, { id, onInput, command }) {
  const choices = field.choices ?? [];
  const start = choices.findIndex((choice) => choice.value === field.default);
  const inputs = choices.map((choice, index) =>
    el("input", {
      type: "radio",
      name: id,
      value: String(index),
      checked: index === start,
      on: { change: onInput },
      data: { testid: `choice-${command}.${field.path}-${choice.label}` },
    }),
  );
  const element = el(
    "div",
    { class: "pills" },
    inputs.map((input, index) =>
      el("label", { class: "pill" }, input, el("span", {}, choices[index].label)),
    ),
  );
  return {
    element,
    grouped: true,
    targets: inputs,
    read: () => {
      const index = inputs.findIndex((input) => input.checked);
      if (index >= 0) return choices[index].value;
      if (!field.required) return undefined;
      throw new FieldProblem(field.path, "Choose one first.");
    },
    write: (value) => {
      inputs.forEach((input, index) => {
        input.checked = choices[index].value === value;
      });
    },
  };
}

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function menuControl(field, { id, onInput }) {
  const choices = field.choices ?? [];
  const start = choices.findIndex((choice) => choice.value === field.default);
  const select = el(
    "select",
    { id, on: { change: onInput } },
    start < 0 ? el("option", { value: "", disabled: field.required }, "Choose…") : null,
    choices.map((choice, index) => el("option", { value: String(index) }, choice.label)),
  );
  select.value = start < 0 ? "" : String(start);
  return {
    element: el("div", { class: "select" }, select, icon("chevron")),
    targets: [select],
    read: () => {
      if (select.value !== "") return choices[Number(select.value)].value;
      if (!field.required) return undefined;
      throw new FieldProblem(field.path, "Choose one first.");
    },
    write: (value) => {
      select.value = String(choices.findIndex((choice) => choice.value === value));
    },
  };
}

/**
 * @param {Field} field
 * @param {Options} options
 * @returns {Inner}
 */
export function jsonControl(field, { id, onInput }) {
  const input = el("textarea", { id, rows: 3, class: "code", spellcheck: false, placeholder: "JSON" });
  if (field.hasDefault && field.default !== null) input.value = JSON.stringify(field.default, null, 1);
  input.addEventListener("input", onInput);
  return {
    element: input,
    targets: [input],
    read: () => {
      if (input.value.trim() === "" && !field.required) return undefined;
      try {
        return JSON.parse(input.value);
      } catch {
        throw new FieldProblem(field.path, "This is not valid JSON.");
      }
    },
    write: (value) => {
      input.value = JSON.stringify(value, null, 1);
    },
  };
}
