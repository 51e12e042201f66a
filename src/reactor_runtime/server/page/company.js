/** Who else is here: how many watch and who drives, and the question before one of them stops it for them all. */

import { el } from "./dom.js";

/**
 * How many are here, and who drives. "" for whoever is alone. Pure.
 * @param {import("./people.js").Here} here
 * @param {import("./standing.js").Wheel | null} wheel
 */
export function companyText({ viewers, drivers, driving }, wheel) {
  if (viewers < 2) return "";
  if (wheel?.you === "watch" && wheel.driver) return `${viewers} here, ${wheel.driver.name} drives`;
  const others = drivers - (driving ? 1 : 0);
  const them = others === 1 ? "1 other" : `${others} others`;
  if (driving) return `${viewers} here, ${others === 0 ? "you drive" : `you and ${them} drive`}`;
  return `${viewers} here, ${others === 0 ? "nobody drives" : others === 1 ? "somebody else drives" : `${them} drive`}`;
}

export class StopAsk {
  /** @param {import("./people.js").People} people */
  constructor(people) {
    this.text = el("p", { id: "stop-ask-text" });
    this.dialog = el(
      "dialog",
      { "aria-labelledby": "stop-ask-title", "aria-describedby": "stop-ask-text", data: { testid: "stop-ask" } },
      el("h2", { id: "stop-ask-title" }, "Stop it for everybody?"),
      this.text,
      el("footer", {}, [
        this.button("stop-all", "Stop for everybody", () => people.parts.session.stop()),
        this.button("stop-leave", "Leave, and let it go on", () => people.leave()),
        this.button("stop-not", "Stay", () => {}),
      ]),
    );
    document.body.append(this.dialog);
  }

  ask() {
    this.dialog.showModal();
  }

  /** @param {number} others how many there are besides oneself */
  show(others) {
    this.text.textContent = others === 1 ? "Somebody else is watching." : `${others} others are watching.`;
    if (others < 1) this.dialog.close();
  }

  /**
   * @param {string} testid
   * @param {string} text
   * @param {() => void} act
   */
  button(testid, text, act) {
    const close = () => {
      this.dialog.close();
      act();
    };
    const data = { testid };
    const first = testid === "stop-all";
    return el("button", { type: "button", class: first ? "send" : "second", autofocus: testid === "stop-not", data, on: { click: close } }, text);
  }
}
