/** What a picture must be called beside it is its file's name, unless somebody wrote another. */

import { ID_NAME } from "./schema.js";

export class FileName {
  constructor() {
    /** What was filled in last. */
    this.filled = "";
  }

  /**
   * A control of a command changed: fill in the name that stands beside a picture.
   * @param {import("./controls.js").Control[]} controls
   */
  follow(controls) {
    const { fileName = "" } = controls.find((control) => control.fileName) ?? {};
    const named = controls.find(({ field }) => field.kind === "text" && field.required && ID_NAME.test(field.name));
    if (!named || !fileName || (named.read() && named.read() !== this.filled)) return;
    this.filled = fileName;
    named.write(fileName);
  }
}
