/**
 * Giving the page to somebody else: what they may do, for how long, the link, and the link as a code for a phone's camera.
 * Loaded when somebody asks for it.
 */

import { el, icon } from "./dom.js";
import { qrPath } from "./qr.js";
import { wear } from "./wear.js";

/** What the link lets people do. @type {Record<string, string>} */
const MAY = {
  watch: "Whoever opens it sees the picture, and can change nothing.",
  vote: "Whoever opens it sees the picture, and has a vote.",
  drive: "Whoever opens it sees the picture, and can drive when it is their turn.",
  here: "Whoever opens it joins this session.",
  token: "Whoever opens it may do what you may: your access token is in it.",
};
/** @type {Record<string, string>} */
const NAMES = { watch: "To watch", vote: "To vote", drive: "To drive" };
const HOUR_S = 3_600;
/** @type {[string, number][]} */
const TIMES = [["1 hour", HOUR_S], ["1 day", 24 * HOUR_S], ["1 week", 7 * 24 * HOUR_S]];
const COPIED_MS = 2_000;

export class Share {
  /** @param {import("./server.js").Server} server */
  constructor(server) {
    this.server = server;
    /** @type {Map<string, string>} The links that were made, by what they are for. */
    this.made = new Map();
    this.role = "";
    this.forS = TIMES[1][1];
    this.about = el("p", { class: "about", data: { testid: "share-about" } });
    this.code = el("div", { class: "code-image", role: "img", "aria-label": "The link, as a code for a camera", data: { testid: "share-code" } });
    this.link = el("input", { type: "text", readOnly: true, "aria-label": "Link", data: { testid: "share-link" }, on: { focus: () => this.link.select() } });
    this.copied = el("button", { type: "button", class: "send", data: { testid: "share-copy" }, on: { click: () => this.copy() } }, "Copy");
    this.choices = el("div", { class: "share-choices" });
    this.near = el("p", { class: "hint", hidden: !isHere(), data: { testid: "share-near" } }, "This address works on this computer only. Others reach it at the address of this computer in your network, if the server was started with --host 0.0.0.0.");
    const close = el("button", { type: "button", class: "second", data: { testid: "share-close" }, on: { click: () => this.dialog.close() } }, "Close");
    this.dialog = el(
      "dialog",
      { class: "share", "aria-labelledby": "share-title", data: { testid: "share-dialog" } },
      el("header", {}, el("h2", { id: "share-title" }, "Share"), close),
      this.choices,
      this.code,
      el("div", { class: "share-link" }, this.link, this.copied),
      this.about,
      this.near,
    );
    document.body.append(this.dialog);
  }

  async open() {
    await wear("share.css");
    const { shares } = this.server;
    if (!shares.includes(this.role)) this.role = shares[0] ?? "";
    this.choices.replaceChildren(...(shares.length > 0 ? [this.roles(shares), this.times()] : []));
    this.dialog.showModal();
    await this.show();
  }

  /** @param {string[]} shares */
  roles(shares) {
    const pills = shares.map((role) =>
      el(
        "label",
        { class: "pill" },
        el("input", {
          type: "radio",
          name: "share-role",
          checked: role === this.role,
          data: { testid: `share-${role}` },
          on: { change: () => this.choose(role, this.forS) },
        }),
        el("span", {}, NAMES[role] ?? role),
      ),
    );
    return el("div", { class: "pills", role: "radiogroup", "aria-label": "What for" }, pills);
  }

  times() {
    const options = TIMES.map(([text, seconds]) => el("option", { value: String(seconds), selected: seconds === this.forS }, `Works for ${text}`));
    const select = el("select", { "aria-label": "For how long", data: { testid: "share-time" } }, options);
    select.addEventListener("change", () => this.choose(this.role, Number(select.value)));
    return el("div", { class: "select" }, select, icon("chevron"));
  }

  /**
   * @param {string} role
   * @param {number} forS
   */
  choose(role, forS) {
    this.role = role;
    this.forS = forS;
    this.show();
  }

  async show() {
    const { role, forS } = this;
    try {
      const link = await this.linkFor(role, forS);
      if (role !== this.role || forS !== this.forS) return;
      this.link.value = link;
      this.code.replaceChildren(drawn(link));
      this.about.textContent = MAY[role || (this.server.token ? "token" : "here")] ?? "";
    } catch (error) {
      this.link.value = "";
      this.code.replaceChildren();
      this.about.textContent = /** @type {Error} */ (error).message;
    }
    this.copied.disabled = this.link.value === "";
  }

  /**
   * @param {string} role
   * @param {number} forS
   */
  async linkFor(role, forS) {
    if (!role) return this.server.link();
    const key = `${role} ${forS}`;
    const link = this.made.get(key) ?? this.server.link(await this.server.makeToken(role, forS));
    this.made.set(key, link);
    return link;
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.link.value);
      this.copied.textContent = "Copied";
      setTimeout(() => (this.copied.textContent = "Copy"), COPIED_MS);
    } catch {
      // Without the right to it, as on a page that is not secure: it is selected, to be copied by hand.
      this.link.focus();
    }
  }
}

/** @param {string} text */
function drawn(text) {
  const { size, path } = qrPath(text);
  const name = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(name, "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("aria-hidden", "true");
  const modules = document.createElementNS(name, "path");
  modules.setAttribute("d", path);
  svg.append(modules);
  return svg;
}

const isHere = () => /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
