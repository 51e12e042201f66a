/**
 * The panel of controls: a column beside the picture, or on a narrow screen a sheet that is pulled up and
 * down.
 */

const SIZES = ["low", "half", "full"];
const PULL_PX = 40;

export class Sheet {
  /**
   * @param {HTMLElement} panel
   * @param {HTMLElement} handle
   */
  constructor(panel, handle) {
    this.panel = panel;
    this.handle = handle;
    this.size = "half";
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

  /** Hide or show the controls. */
  toggle() {
    this.set(this.size === "low" ? "half" : "low");
  }

  /** @param {string} size */
  set(size) {
    this.size = size;
    document.body.dataset.sheet = size;
    this.handle.setAttribute("aria-expanded", String(size !== "low"));
    this.handle.setAttribute("aria-label", size === "low" ? "Show the controls" : "Resize the controls");
  }

  click() {
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
  }
}
