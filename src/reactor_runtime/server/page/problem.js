/** What is wrong with a field, in words; `path` is dotted. */
export class FieldProblem extends Error {
  /**
   * @param {string} path
   * @param {string} message
   */
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}
