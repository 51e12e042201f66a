/** What is wrong with a field, in words; `path` is dotted. */
export class FieldProblem extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}
