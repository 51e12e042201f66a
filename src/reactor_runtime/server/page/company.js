/** Who else is here: how many watch and who drives, and the question before one of them stops it for them all. */

import { byId } from "./dom.js";

/** @typedef {{viewers: number, drivers: number, driving: boolean}} Here what the server says, this page included */

/**
 * How many are here, and who drives. "" for whoever is alone. Pure.
 * @param {Here} here
 */
export function companyText({ viewers, drivers, driving }) {
  if (viewers < 2) return "";
  const others = drivers - (driving ? 1 : 0);
  const them = others === 1 ? "1 other" : `${others} others`;
  if (driving) return `${viewers} here, ${others === 0 ? "you drive" : `you and ${them} drive`}`;
  return `${viewers} here, ${others === 0 ? "nobody drives" : others === 1 ? "somebody else drives" : `${them} drive`}`;
}

export class Company {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
    /** @type {Here} */
    this.here = { viewers: 1, drivers: 0, driving: false };
    this.asking = byId("stop-ask", HTMLDialogElement);
    byId("stop-all").addEventListener("click", () => this.answer(() => session.stop()));
    byId("stop-leave").addEventListener("click", () => this.answer(() => session.stop({ leaving: true })));
    byId("stop-not").addEventListener("click", () => this.asking.close());
  }

  /** @param {Here | null} here null where there is no connection */
  show(here) {
    this.here = here ?? { viewers: 1, drivers: 0, driving: false };
    const text = companyText(this.here);
    byId("company").hidden = text === "";
    byId("company").title = text;
    byId("company-count").textContent = String(this.here.viewers);
    byId("company-text").textContent = text.slice(text.indexOf(" "));
    const others = this.here.viewers - 1;
    byId("stop-ask-text").textContent =
      others === 1 ? "Somebody else is watching." : `${others} others are watching.`;
    if (others < 1) this.asking.close();
  }

  /** End the session, or leave it to those who began it; where others watch, only after asking. */
  stop() {
    if (this.session.creator && this.here.viewers > 1) this.asking.showModal();
    else this.session.stop();
  }

  /** @param {() => void} act */
  answer(act) {
    this.asking.close();
    act();
  }
}
