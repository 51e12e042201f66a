/**
 * The panel of controls: a column beside the picture, or on a narrow screen a sheet that is pulled up and
 * down. In full screen it lies over the picture and is hidden at first. Where a model is played with keys and the
 * screen is small, it is out of the way of the thumbs until somebody asks for it.
 */

const SIZES = ["low", "half", "full"];
const PULL_PX = 40;
/** As in style.css: the sheet, and a phone that is held across. */
const SMALL = "(max-width: 1024px) and (orientation: portrait), (max-width: 560px), (orientation: landscape) and (max-height: 500px)";

export class Sheet {
  /**
   * @param {HTMLElement} panel
   * @param {HTMLElement} handle
   * @param {HTMLElement} toggle hides and shows it
   */
  constructor(panel, handle, toggle) {
    this.panel = panel;
    this.handle = handle;
    this.toggleButton = toggle;
    this.size = "half";
    this.played = false;
    /** Whether somebody chose the size. */
    this.chosen = false;
    /** What it was before full screen, or null. */
    /** @type {string | null} */
    this.uncovered = null;
    this.small = matchMedia(SMALL);
    this.small.addEventListener("change", () => this.place(this.played));
    /** @type {number | null} Where the pull began. */
    this.fromY = null;
    this.pulled = false;
    handle.addEventListener("click", () => this.click());
    handle.addEventListener("pointerdown", (event) => {
      this.fromY = event.clientY;
      this.pulled = false;
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => this.pull(event.clientY));
    for (const type of ["pointerup", "pointercancel"])
      handle.addEventListener(type, () => (this.fromY = null));
    this.set("half");
  }

  /**
   * Stand where this screen has room, unless somebody chose.
   * @param {boolean} played with keys, which are on the picture
   */
  place(played) {
    this.played = played;
    if (!this.chosen && this.uncovered === null) this.set(played && this.small.matches ? "low" : "half");
  }

  /**
   * Full screen begins or ends.
   * @param {boolean} full
   */
  cover(full) {
    const before = this.uncovered;
    this.uncovered = full ? this.size : null;
    this.set(full ? "low" : (before ?? this.size));
  }

  /** Hide or show the controls. */
  toggle() {
    this.chosen ||= this.uncovered === null;
    this.set(this.size === "low" ? "half" : "low");
  }

  /** @param {string} size */
  set(size) {
    this.size = size;
    document.body.dataset.sheet = size;
    for (const button of [this.handle, this.toggleButton])
      button.setAttribute("aria-expanded", String(size !== "low"));
    this.handle.setAttribute("aria-label", size === "low" ? "Show the controls" : "Resize the controls");
  }

  click() {
    this.chosen = true;
    if (!this.pulled) this.set(SIZES[(SIZES.indexOf(this.size) + 1) % SIZES.length]);
    this.pulled = false;
  }

  /** @param {number} y */
  pull(y) {
    if (this.fromY === null || Math.abs(y - this.fromY) < PULL_PX) return;
    const step = y < this.fromY ? 1 : -1;
    this.set(SIZES[Math.min(SIZES.length - 1, Math.max(0, SIZES.indexOf(this.size) + step))]);
    this.fromY = y;
    this.pulled = true;
    this.chosen = true;
  }
}
