/**
 * Full screen: the whole page, so that notices, keys and controls stay with the picture. Where the browser has
 * that for videos only, as an iPhone has, the page does without the browser: its player has no keys.
 */

import { byId } from "./dom.js";

export class FullScreen {
  /** @param {(on: boolean) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    document.addEventListener("fullscreenchange", () => this.set(document.fullscreenElement !== null));
    addEventListener("keydown", ({ key }) => {
      if (key === "Escape" && this.on && !document.fullscreenElement && !document.querySelector("dialog[open]"))
        this.set(false);
    });
  }

  get on() {
    return document.body.dataset.full === "true";
  }

  async toggle() {
    const root = document.documentElement;
    if (document.fullscreenElement) await document.exitFullscreen();
    else if (this.on || !document.fullscreenEnabled) this.set(!this.on);
    else await root.requestFullscreen({ navigationUI: "hide" }).catch(() => this.set(true));
  }

  /** @param {boolean} on */
  set(on) {
    if (on === this.on) return;
    document.body.dataset.full = String(on);
    const button = byId("full");
    const words = on ? "Leave full screen" : "Full screen";
    button.setAttribute("aria-pressed", String(on));
    button.setAttribute("aria-label", words);
    button.title = `${words} (F)`;
    // The button that was pressed keeps no focus: Space would leave again.
    if (document.activeElement === button) button.blur();
    this.onChange(on);
  }
}
