/**
 * One form control per field of a command.
 *
 * `makeControl(field, options)` returns {element, read(), write(value), refuse(message, path)}. `read()` returns the
 * value, `undefined` to leave the argument out, or throws `FieldProblem`; a file that must be uploaded first reads as
 * `Upload`. `options.onInput()` is called on every change by hand.
 */

import { el, icon, uniqueId } from "./dom.js";
import { pictureControl } from "./picture.js";
import { FieldProblem } from "./problem.js";
import { tidy, words } from "./schema.js";

/** Make the control of `field`; `options`: {command, onInput, onEnter, pictures, plain}. `plain` hides the label. */
export function makeControl(field, options) {
  const id = uniqueId("f");
  const make = MAKERS[field.kind] ?? jsonControl;
  const inner = make(field, { ...options, id });
  return frame(field, inner, { ...options, id });
}

const MAKERS = {
  text: textControl,
  multiline: textControl,
  color: textControl,
  number: numberControl,
  slider: sliderControl,
  toggle: toggleControl,
  choice: (field, options) => (field.style === "pills" ? pillsControl(field, options) : menuControl(field, options)),
  image: pictureControl,
  file: pictureControl,
  list: listControl,
  group: groupControl,
  json: jsonControl,
};

/** Label, hint, the "set" switch of optional fields, and the place for what is wrong. */
function frame(field, inner, { id, command, onInput, plain }) {
  const grouped = inner.grouped === true;
  const testid = `field-${command}.${field.path}`;
  const hintId = `${id}-hint`;
  const problemId = `${id}-problem`;
  const hint = hintText(field);
  const problem = el("p", { class: "problem", id: problemId, hidden: true, data: { testid: `problem-${command}.${field.path}` } });
  const optional = field.nullable;
  const set = optional && el("input", { type: "checkbox", class: "switch small", checked: field.default != null, "aria-label": `Set ${field.label}`, data: { testid: `set-${command}.${field.path}` } });
  const label = grouped ? el("legend", { class: plain ? "visually-hidden" : "label" }, field.label) : el("label", { class: plain ? "visually-hidden" : "label", htmlFor: id }, field.label);
  const note = optional ? el("span", { class: "tag" }, "optional") : null;
  const beside = [inner.aside, note, set].filter(Boolean);
  const heading = !grouped && !plain ? label : null;
  const head = (heading || (beside.length > 0 && !plain)) && el("div", { class: "field-head" }, heading, plain ? null : beside);
  const body = el("div", { class: "field-body" }, inner.element);
  const foot = hint ? el("p", { class: "hint", id: hintId }, hint) : null;
  const element = el(grouped ? "fieldset" : "div", { class: "field", data: { kind: field.kind, testid } }, heading ? null : label, head, body, foot, problem);
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
  return {
    field,
    element,
    /** Parts that a card with one field places itself: what belongs beside its title, and the body and hint. */
    beside: plain ? beside : [],
    body,
    hint: foot,
    read: () => (set && !set.checked ? null : inner.read()),
    write: (value) => {
      if (set) set.checked = value !== null && value !== undefined;
      if (value !== null && value !== undefined) inner.write(value);
      if (set) enable();
      clear();
    },
    /** Show what is wrong here, or in the part of this field that `path` names. */
    refuse: (message, path = "") => {
      if (path && inner.refuse?.(message, path)) return;
      problem.textContent = message;
      problem.hidden = false;
      for (const target of inner.targets ?? []) target.setAttribute("aria-invalid", "true");
      (inner.targets ?? [])[0]?.focus({ preventScroll: false });
    },
    clear,
    accepts: inner.accepts,
  };
}

/** Description, range and default, in one line. */
function hintText(field) {
  const parts = [];
  if (field.description) parts.push(field.description.replace(/\.$/, ""));
  if (field.kind === "number" && (field.min !== null || field.max !== null)) {
    parts.push(field.max === null ? `at least ${field.min}` : field.min === null ? `at most ${field.max}` : `${field.min} to ${field.max}`);
  }
  if (field.kind === "slider") parts.push(`${field.min} to ${field.max}`);
  if (field.minLength > 1) parts.push(`at least ${field.minLength} characters`);
  if (field.maxLength) parts.push(`up to ${field.maxLength} characters`);
  if (field.kind === "list" && field.item && (field.minItems || field.maxItems)) {
    parts.push(field.maxItems === null ? `at least ${field.minItems}` : `${field.minItems} to ${field.maxItems} entries`);
  }
  const shown = ["string", "number", "boolean"].includes(typeof field.default) && field.default !== "" && String(field.default).length <= 40;
  if (field.hasDefault && shown) parts.push(`default ${field.default === true ? "on" : field.default === false ? "off" : field.default}`);
  return parts.join(" · ");
}

function textControl(field, { id, onInput, onEnter }) {
  const long = field.kind === "multiline";
  const limits = { maxLength: field.maxLength ?? undefined };
  const input = long
    ? el("textarea", { id, rows: 3, spellcheck: true, ...limits })
    : el("input", { id, type: field.kind === "color" ? "color" : "text", autocomplete: "off", ...limits });
  if (typeof field.default === "string") input.value = field.default;
  input.addEventListener("input", onInput);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    if (long && (event.shiftKey || (onEnter === "modified" && !event.ctrlKey && !event.metaKey))) return;
    event.preventDefault();
    input.form?.requestSubmit();
  });
  return {
    element: input,
    targets: [input],
    read: () => {
      const text = input.value;
      if (text === "" && !field.required && field.kind !== "color") return field.hasDefault ? "" : undefined;
      if (text === "" && (field.minLength ?? 0) > 0) throw new FieldProblem(field.path, "Enter some text first.");
      if (text.length < (field.minLength ?? 0)) throw new FieldProblem(field.path, `At least ${field.minLength} characters, please.`);
      return text;
    },
    write: (value) => {
      input.value = String(value);
    },
  };
}

/** Text → number within the field's range, or words. */
function readNumber(field, input) {
  const text = input.value.trim();
  if (text === "" && !input.validity.badInput) {
    if (!field.required) return undefined;
    throw new FieldProblem(field.path, "Enter a number first.");
  }
  const value = Number(text);
  if (!Number.isFinite(value) || input.validity.badInput) throw new FieldProblem(field.path, "This is not a number.");
  if (field.integer && !Number.isInteger(value)) throw new FieldProblem(field.path, "A whole number, please.");
  if (field.min !== null && value < field.min) throw new FieldProblem(field.path, `At least ${field.min}, please.`);
  if (field.max !== null && value > field.max) throw new FieldProblem(field.path, `At most ${field.max}, please.`);
  return value;
}

function numberInput(field, { id, onInput }, extra = {}) {
  const input = el("input", {
    id, type: "number", class: "number", inputMode: field.integer ? "numeric" : "decimal", step: field.integer ? "1" : "any",
    min: field.min ?? undefined, max: field.max ?? undefined, autocomplete: "off", ...extra,
  });
  if (typeof field.default === "number") input.value = field.default;
  input.addEventListener("input", onInput);
  return input;
}

function numberControl(field, options) {
  const input = numberInput(field, options);
  const step = field.step ?? 1;
  const by = (sign) => () => {
    const from = Number(input.value) || 0;
    const next = tidy(from + sign * step);
    input.value = Math.min(field.max ?? Infinity, Math.max(field.min ?? -Infinity, next));
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const button = (name, label, sign) => el("button", { type: "button", class: "step", tabIndex: -1, "aria-label": `${label} ${field.label}`, on: { click: by(sign) } }, icon(name));
  return {
    element: el("div", { class: "stepper" }, button("minus", "Decrease", -1), input, button("plus", "Increase", 1)),
    targets: [input],
    read: () => readNumber(field, input),
    write: (value) => {
      input.value = value;
    },
  };
}

function sliderControl(field, options) {
  const start = typeof field.default === "number" ? field.default : tidy(field.min);
  const range = el("input", { id: options.id, type: "range", min: field.min, max: field.max, step: field.step, value: start, data: { testid: `slider-${options.command}.${field.path}` } });
  const exact = numberInput(field, { ...options, id: `${options.id}-exact` }, { class: "exact", "aria-label": `${field.label}, exact value` });
  exact.value = start;
  const fill = () => {
    const share = (Number(range.value) - field.min) / (field.max - field.min);
    range.style.setProperty("--fill", `${Math.min(1, Math.max(0, share)) * 100}%`);
  };
  range.addEventListener("input", () => {
    exact.value = tidy(Number(range.value));
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
      exact.value = value;
      range.value = value;
      fill();
    },
  };
}

function toggleControl(field, { id, onInput }) {
  const input = el("input", { id, type: "checkbox", role: "switch", class: "switch", checked: field.default === true });
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

function pillsControl(field, { id, onInput, command }) {
  const start = field.choices.findIndex((choice) => choice.value === field.default);
  const inputs = field.choices.map((choice, index) =>
    el("input", { type: "radio", name: id, value: String(index), checked: index === start, on: { change: onInput }, data: { testid: `choice-${command}.${field.path}-${choice.label}` } }),
  );
  const element = el("div", { class: "pills" }, inputs.map((input, index) => el("label", { class: "pill" }, input, el("span", {}, field.choices[index].label))));
  return {
    element,
    grouped: true,
    targets: inputs,
    read: () => {
      const index = inputs.findIndex((input) => input.checked);
      if (index >= 0) return field.choices[index].value;
      if (!field.required) return undefined;
      throw new FieldProblem(field.path, "Choose one first.");
    },
    write: (value) => {
      inputs.forEach((input, index) => {
        input.checked = field.choices[index].value === value;
      });
    },
  };
}

function menuControl(field, { id, onInput }) {
  const start = field.choices.findIndex((choice) => choice.value === field.default);
  const select = el(
    "select",
    { id, on: { change: onInput } },
    start < 0 ? el("option", { value: "", disabled: field.required }, "Choose…") : null,
    field.choices.map((choice, index) => el("option", { value: String(index) }, choice.label)),
  );
  select.value = start < 0 ? "" : String(start);
  return {
    element: el("div", { class: "select" }, select, icon("chevron")),
    targets: [select],
    read: () => {
      if (select.value !== "") return field.choices[Number(select.value)].value;
      if (!field.required) return undefined;
      throw new FieldProblem(field.path, "Choose one first.");
    },
    write: (value) => {
      select.value = String(field.choices.findIndex((choice) => choice.value === value));
    },
  };
}

function listControl(field, options) {
  const rows = el("div", { class: "rows" });
  const fixed = field.item === null;
  let controls = [];
  const label = (index) => `${words(field.name)} ${index + 1}`;
  const add = (item, value) => {
    const index = controls.length;
    const control = makeControl({ ...item, label: label(index), path: `${field.path}.${index}`, description: "" }, { ...options, plain: true });
    if (value !== undefined) control.write(value);
    controls.push(control);
    const remove = fixed ? null : el("button", { type: "button", class: "quiet", "aria-label": `Remove ${label(index)}`, on: { click: () => take(control) } }, icon("close"));
    control.row = el("div", { class: "row" }, control.element, control.beside, remove);
    rows.append(control.row);
    more.hidden = fixed || (field.maxItems !== null && controls.length >= field.maxItems);
  };
  const take = (control) => {
    const values = controls.filter((other) => other !== control).map((other) => attempt(other));
    write(values);
    more.focus();
    options.onInput();
  };
  const write = (values) => {
    controls = [];
    rows.replaceChildren();
    more.hidden = fixed || (field.maxItems !== null && values.length >= field.maxItems);
    values.forEach((value, index) => add(fixed ? field.items[index] : field.item, value));
  };
  const more = el("button", { type: "button", class: "quiet add", hidden: fixed, data: { testid: `add-${options.command}.${field.path}` }, on: { click: () => {
    add(field.item);
    controls.at(-1).element.querySelector("input, textarea, select")?.focus();
    options.onInput();
  } } }, icon("plus"), "Add");
  if (fixed) write(field.items.map((item, index) => (Array.isArray(field.default) ? field.default[index] : item.default)));
  else write(Array.isArray(field.default) ? field.default : Array(field.minItems).fill(undefined));
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

function groupControl(field, options) {
  const controls = field.fields.map((part) => makeControl(part, { ...options, plain: false }));
  const write = (value) => controls.forEach((control) => control.field.name in value && control.write(value[control.field.name]));
  if (typeof field.default === "object" && field.default !== null) write(field.default);
  return {
    element: el("div", { class: "group" }, controls.map((control) => control.element)),
    grouped: true,
    read: () => Object.fromEntries(controls.map((control) => [control.field.name, control.read()]).filter(([, value]) => value !== undefined)),
    write,
    refuse: (message, path) => passOn(controls, message, path),
  };
}

function jsonControl(field, { id, onInput }) {
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

/** Hand a refusal to the control that `path` names or lies in. True when one took it. */
export function passOn(controls, message, path) {
  const owner = controls.find(({ field }) => path === field.path || path.startsWith(`${field.path}.`));
  if (!owner) return false;
  owner.refuse(message, path === owner.field.path ? "" : path);
  return true;
}

/** What a control holds, or undefined where it is not valid yet. */
function attempt(control) {
  try {
    return control.read();
  } catch {
    return undefined;
  }
}
