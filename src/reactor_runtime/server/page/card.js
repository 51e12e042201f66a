/**
 * The card of one command: its controls, its button, and under them what became of the last one sent.
 *
 * A command with one slider, choice or switch applies while it is moved, at most twenty times a second and
 * always the newest value. One without arguments is a button. One with single-letter choices is a keypad. All
 * others have a form.
 */

import { LatestWins } from "./coalesce.js";
import { passOn } from "./compound.js";
import { makeControl } from "./controls.js";
import { el, icon } from "./dom.js";
import { FileName } from "./filename.js";
import { Following } from "./following.js";
import { Keypad } from "./keypad.js";
import { padsOf } from "./keys.js";
import { Patience } from "./patience.js";
import { uploadsIn } from "./picture.js";
import { FieldProblem } from "./problem.js";

const LIVE_KINDS = new Set(["slider", "choice", "toggle"]);
const LIVE_INTERVAL_MS = 50;

/**
 * @typedef {import("./schema.js").Command} Command
 * @typedef {import("./schema.js").Field} Field
 * @typedef {import("./controls.js").Control} Control
 * @typedef {import("./commands.js").Commands} Commands
 * @typedef {import("./commands.js").Receipt} Receipt
 */

export class Card {
  /**
   * @param {Command} command
   * @param {Commands} panel
   */
  constructor(command, panel) {
    this.command = command;
    this.panel = panel;
    this.latest = "";
    /** @type {Record<string, unknown> | null} What a held look springs back to. */
    this.rest = null;
    this.fileName = new FileName();
    /** @type {Control[]} */
    this.controls = [];
    /** @type {HTMLButtonElement | null} */
    this.button = null;
    const pads = padsOf(command);
    this.keypad = pads.length > 0 ? new Keypad(command, pads, () => this.submit()) : null;
    const { fields: held = [] } = this.keypad ?? {};
    const fields = command.fields.filter((field) => !held.includes(field.name));
    this.live =
      pads.length === 0 && fields.length === 1 && LIVE_KINDS.has(fields[0].kind) && !fields[0].nullable;
    this.following = new Following((told, edited) => this.show(told, edited));
    /** @type {LatestWins | null} */
    this.throttle = this.live ? new LatestWins(() => this.submit(), { intervalMs: LIVE_INTERVAL_MS }) : null;
    this.status = el("p", {
      class: "status",
      role: this.live ? undefined : "status",
      data: { testid: `status-${command.name}`, state: "" },
    });
    this.patience = new Patience((text, since) => this.say("sending", text, since));
    this.element = command.fields.length === 0 ? this.plain() : this.form(fields, pads);
  }

  /** What it is found by. */
  get words() {
    const { name, label, description, fields } = this.command;
    return [name, label, description, ...fields.map((field) => field.label)].join(" ").toLowerCase();
  }

  /** Whether nothing of it is left to press: its keys are elsewhere, and it has no more. */
  get isEmpty() {
    return this.keypad?.element.childElementCount === 0 && this.controls.length === 0;
  }

  /** A command without arguments. */
  plain() {
    this.button = el(
      "button",
      {
        type: "button",
        class: "action",
        title: this.command.description,
        data: { testid: `send-${this.command.name}` },
        on: { click: () => this.submit() },
      },
      this.command.label,
    );
    return el(
      "li",
      { class: "action-cell", data: { testid: `command-${this.command.name}` } },
      this.button,
      this.status,
    );
  }

  /**
   * @param {Field[]} fields
   * @param {import("./keys.js").Pad[]} pads
   */
  form(fields, pads) {
    const { command } = this;
    const pictures = Math.max(1, fields.filter((field) => field.kind === "image").length);
    const single = fields.length === 1 && pads.length === 0;
    const options = {
      command: command.name,
      pictures,
      onExample: single ? () => this.submit() : () => {},
      onEnter: /** @type {"plain" | "modified"} */ (single ? "plain" : "modified"),
      plain: single,
    };
    this.controls = fields.map((field) =>
      makeControl(field, {
        ...options,
        onInput: () => {
          this.following.touched(field.name);
          this.changed();
        },
      }),
    );
    const composer = single && ["text", "multiline"].includes(fields[0].kind) && !fields[0].nullable;
    this.button = this.live || this.keypad ? null : this.sendButton(composer);
    const [first] = this.controls;
    if (composer && this.button) first.body.append(this.button);
    const form = el(
      "form",
      {
        class: `card${composer ? " composer" : ""}${this.keypad ? " keys-card" : ""}`,
        noValidate: true,
        autocomplete: "off",
        "aria-label": command.label,
        data: { testid: `command-${command.name}`, live: String(this.live) },
      },
      el(
        "header",
        { class: "card-head" },
        el("h3", { dir: "auto" }, command.label),
        single ? first.beside : null,
        this.keypad ? this.status : null,
      ),
      command.description ? el("p", { class: "about", dir: "auto" }, command.description) : null,
      this.keypad?.element,
      this.controls.map((control) => control.element),
      el(
        "footer",
        { class: "card-foot" },
        composer ? null : this.button,
        this.live || composer ? first.hint : null,
        this.keypad ? null : this.status,
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.live) this.throttle?.push();
      else this.submit();
    });
    return form;
  }

  /** @param {boolean} composer */
  sendButton(composer) {
    const data = { testid: `send-${this.command.name}` };
    const { label } = this.command;
    const name = `Send ${label.charAt(0).toLowerCase()}${label.slice(1)}`;
    if (composer)
      return el(
        "button",
        {
          type: "submit",
          class: "send round",
          "aria-label": name,
          title: "Send (Enter)",
          data,
        },
        icon("up"),
      );
    return el("button", { type: "submit", class: "send", "aria-label": name, data }, "Send");
  }

  changed() {
    this.fileName.follow(this.controls);
    if (this.live) this.throttle?.push();
    else if (this.status.dataset.state === "refused") this.say("", "");
  }

  /** @param {boolean} connected */
  setConnected(connected) {
    if (this.button) this.button.disabled = !connected;
    this.throttle?.cancel();
    this.keypad?.setEnabled(connected);
    this.rest = null;
    this.following.clear();
    this.patience.end();
    if (!connected) this.say("", "");
  }

  /**
   * Show what the model was set to, where nobody is entering something else.
   * @param {import("./following.js").Told} told
   * @param {Set<string>} edited
   */
  show({ values, named = {} }, edited) {
    for (const control of this.controls) {
      const { name } = control.field;
      if (edited.has(name)) continue;
      if (name in values) control.follow(values[name]);
      control.named?.(named[name] ?? null);
    }
    this.keypad?.follow(values);
  }

  async submit() {
    const { name } = this.command;
    let sent = "";
    try {
      const { args, uploads } = this.collect();
      if (uploads.length > 0) this.say("sending", "Uploading…");
      const requestId = await this.panel.send(name, args, uploads, (id) => {
        this.latest = sent = id;
        this.panel.requests.set(id, this);
        this.following.sent(id);
      });
      if (uploads.length === 0) this.panel.hold(name, this.isHeld ? { ...args, ...this.released() } : null);
      if (this.latest !== requestId || this.status.dataset.state === "accepted") return;
      if (!this.live) this.say("sending", "Sent");
      this.patience.begin();
    } catch (error) {
      this.following.answered(sent, false);
      this.refused(/** @type {Error} */ (error).message, error instanceof FieldProblem ? error.path : "");
    }
  }

  /** What letting go of keys and stick says. */
  released() {
    return { ...this.keypad?.held.released(), ...this.rest };
  }

  /** Whether something stays as it is until it is let go. */
  get isHeld() {
    return Object.keys(this.released()).length > 0;
  }

  /**
   * Set some arguments as if by hand, at most as often as a slider does.
   * @param {Record<string, unknown>} values
   * @param {Record<string, unknown> | null} rest what they spring back to, while they are held
   */
  turn(values, rest) {
    this.rest = rest;
    if (!this.controls.some(({ field, read }) => field.name in values && read() !== values[field.name])) return;
    this.fill(values);
    this.throttle ??= new LatestWins(() => this.submit(), { intervalMs: LIVE_INTERVAL_MS });
    this.throttle.push();
  }

  /** @param {Record<string, unknown>} values arguments, filled in as if by hand */
  fill(values) {
    for (const { field, write } of this.controls.filter((control) => control.field.name in values)) {
      write(values[field.name]);
      this.following.touched(field.name);
    }
  }

  /** Arguments by name; uploads are taken out, each with the place it was in. */
  collect() {
    /** @type {Record<string, unknown>} */
    const args = { ...this.keypad?.held.choices() };
    for (const control of this.controls) {
      control.clear();
      const value = control.read();
      if (value !== undefined) args[control.field.name] = value;
    }
    return { args, uploads: uploadsIn(args) };
  }

  /** @param {Receipt} receipt */
  receipt({ request_id: requestId, accepted, message, code, field }) {
    this.following.answered(requestId, accepted);
    if (!accepted) {
      this.refused(message || code || "The model refused this.", field ?? "");
    } else if (requestId === this.latest) {
      this.patience.end();
      this.say("accepted", "Accepted");
    }
  }

  /**
   * @param {string} requestId
   * @param {number} delayMs
   * @param {boolean} exact
   */
  shown(requestId, delayMs, exact) {
    if (requestId === this.latest)
      this.say("shown", `${exact ? "Visible" : "Sent to you"} after ${Math.round(delayMs)} ms`);
  }

  /**
   * @param {string} message
   * @param {string} path
   */
  refused(message, path) {
    this.patience.end();
    const taken = path && passOn(this.controls, message, path);
    this.say("refused", taken ? "Not accepted" : message);
    if (taken || this.live || this.keypad)
      this.panel.announce(`${this.command.label}: ${message}`, this.element.isConnected);
  }

  /**
   * @param {string} state
   * @param {string} text
   * @param {HTMLElement} [more]
   */
  say(state, text, more) {
    this.status.dataset.state = state;
    const mark = { accepted: "check", shown: "eye", refused: "alert" }[state];
    this.status.replaceChildren(...(mark ? [icon(mark)] : []), text, ...(more ? [more] : []));
  }
}
