/** How long the recording is by now, on its button. */

const STEP_MS = 500;

/** @param {number} ms */
export function minutes(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export class RecordTime {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
  }

  /** @param {boolean} recording */
  show(recording) {
    if (recording === (this.timer !== undefined)) return;
    this.element.hidden = !recording;
    clearInterval(this.timer);
    this.timer = undefined;
    if (!recording) return;
    const fromMs = performance.now();
    const tell = () => (this.element.dataset.time = minutes(performance.now() - fromMs));
    tell();
    this.timer = setInterval(tell, STEP_MS);
  }
}
