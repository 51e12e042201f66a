/** Says of a command that takes long that it does, so that nobody presses again and wonders. */

import { el } from "./dom.js";

/** What is answered within this time needs no word. */
const QUICK_MS = 1_500;
const STEP_MS = 1_000;

export class Patience {
  /** @param {(text: string, since: HTMLElement) => void} say */
  constructor(say) {
    this.say = say;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** A command has left. */
  begin() {
    this.end();
    const fromMs = performance.now();
    // The seconds are seen, and not read out each time.
    const since = el("span", { class: "since", "aria-hidden": "true" });
    const tell = () => {
      since.textContent = `${Math.round((performance.now() - fromMs) / 1000)} s`;
      if (!since.isConnected) this.say("The model takes its time", since);
      this.timer = setTimeout(tell, STEP_MS);
    };
    this.timer = setTimeout(tell, QUICK_MS);
  }

  /** It was answered, or there is nobody left to answer it. */
  end() {
    clearTimeout(this.timer);
  }
}
