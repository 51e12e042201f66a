/**
 * Where a model is played with keys, what a pointer pressed gives the focus back: else Space would press it again,
 * the arrow keys would move it, and a menu would take the letters.
 */

const PRESSED = "button, select, input:is([type='radio'], [type='checkbox'], [type='range'])";

/** @param {() => boolean} isPlayed */
export function giveFocusBack(isPlayed) {
  let byPointer = false;
  addEventListener("pointerdown", () => (byPointer = true), { capture: true });
  addEventListener("keydown", () => (byPointer = false), { capture: true });
  const giveBack = () => {
    // After what the press does, which may lead to a mistake in a form.
    setTimeout(() => {
      const focused = document.activeElement;
      if (!byPointer || !isPlayed() || !(focused instanceof HTMLElement)) return;
      if (focused.matches(PRESSED) && !focused.closest("dialog")) focused.blur();
    });
  };
  // A click ends on the element that it began on; the end of a drag and a choice of a menu are changes.
  for (const type of ["click", "change"]) addEventListener(type, giveBack);
}
