/**
 * Who is here, and what one may do about it: give the wheel away, and for operators, tucked away below, to warn
 * everybody, to show somebody out, to end the session and to let the server finish.
 */

import { el } from "./dom.js";

/** @typedef {{id: number, name: string, role: string, sub?: string}} Listed one of those who are here, as operators see them */

/** What each may, who does not drive just now. */
const MAY = { watch: "may watch", vote: "may vote", drive: "may drive", operate: "operates" };

/** What asks once more before it is done. */
const SURE = {
  kick: "Show out?",
  end: "End it for everybody?",
  drain: "Let the server finish?",
};

export class Roster {
  /** @param {import("./together.js").Together} together */
  constructor(together) {
    this.together = together;
    this.list = el("ul", { class: "people", role: "list", data: { testid: "people" } });
    this.text = el("p", { class: "about", data: { testid: "roster-text" } });
    this.wheel = el("footer", {});
    this.reason = el("input", { type: "text", id: "operate-reason", maxLength: 200, data: { testid: "operate-reason" } });
    this.operate = el(
      "details",
      { class: "operate", data: { testid: "operate" } },
      el("summary", {}, "Operate"),
      el("label", { class: "label", htmlFor: "operate-reason" }, "Why, for those who are told"),
      this.reason,
      el("footer", {}, [
        this.button("moderate", "Warn everybody"),
        this.button("end", "End the session"),
        this.button("drain", "Drain the server"),
      ]),
    );
    this.dialog = el(
      "dialog",
      { class: "roster", "aria-labelledby": "roster-title", data: { testid: "roster" } },
      el("header", {}, el("h2", { id: "roster-title" }, "Who is here"), this.closer()),
      this.text,
      this.list,
      this.wheel,
      this.operate,
    );
    document.body.append(this.dialog);
    this.drawn = "";
  }

  open() {
    this.render();
    this.dialog.showModal();
  }

  close() {
    this.dialog.close();
  }

  render() {
    const { here, wheel, listed: people } = this.together;
    const drives = wheel?.you === "drive";
    const drawn = JSON.stringify([here, people, wheel?.you, wheel?.driver, wheel?.may]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.text.textContent = `${here.viewers} see this session. ${drives ? "You drive." : wheel?.driver ? `${wheel.driver.name} drives.` : ""}`;
    this.list.replaceChildren(...people.map((person) => this.row(person, wheel)));
    this.list.hidden = people.length === 0;
    const may = new Set(wheel?.may);
    this.wheel.replaceChildren(
      ...(may.has("release") ? [this.button("release", "Give up the wheel")] : []),
      ...(may.has("take") ? [this.button("take", "Take the wheel")] : []),
    );
    this.operate.hidden = this.together.parts.server.role !== "operate";
  }

  /**
   * @param {Listed} person
   * @param {import("./standing.js").Wheel | null} wheel
   */
  row({ id, name, role, sub }, wheel) {
    const drives = wheel?.driver?.id === id;
    const isSelf = drives && wheel?.you === "drive";
    const words = [isSelf ? "you drive" : drives ? "drives" : (/** @type {Record<string, string>} */ (MAY)[role] ?? role), sub].filter(Boolean).join(", ");
    const gives = wheel?.may.includes("give") && !drives;
    return el(
      "li",
      {},
      el("span", {}, el("b", {}, name), ` ${words}`),
      gives ? this.button("give", "Give wheel", { id, name }) : null,
      isSelf ? null : this.button("kick", "Show out", { id, name }),
    );
  }

  /**
   * @param {"moderate" | "end" | "drain" | "kick" | "give" | "release" | "take"} name
   * @param {string} text
   * @param {{id: number, name: string}} [whom]
   */
  button(name, text, whom) {
    const button = el(
      "button",
      {
        type: "button",
        class: "second",
        "aria-label": whom && `${text}: ${whom.name}`,
        data: { testid: `${name}${whom ? `-${whom.id}` : ""}` },
      },
      text,
    );
    const sure = /** @type {Record<string, string>} */ (SURE)[name];
    button.addEventListener("click", () => {
      if (sure && button.dataset.sure !== "true") {
        button.dataset.sure = "true";
        button.textContent = sure;
        if (whom) button.setAttribute("aria-label", `${sure} ${whom.name}`);
        return;
      }
      this.do(name, whom?.id);
    });
    button.addEventListener("blur", () => {
      delete button.dataset.sure;
      button.textContent = text;
      if (whom) button.setAttribute("aria-label", `${text}: ${whom.name}`);
    });
    return button;
  }

  /**
   * @param {string} name
   * @param {number | undefined} to
   */
  async do(name, to) {
    const { together } = this;
    if (name !== "moderate") this.close();
    if (["give", "take", "release"].includes(name)) {
      await together.act({ name, text: "", to });
      return;
    }
    try {
      await together.ask("operate", { action: name, id: to, reason: this.reason.value.trim() || undefined });
    } catch (error) {
      together.parts.notices.show(/** @type {Error} */ (error).message, "problem");
    }
  }

  closer() {
    return el("button", { type: "button", class: "second", data: { testid: "roster-close" }, on: { click: () => this.close() } }, "Close");
  }
}
