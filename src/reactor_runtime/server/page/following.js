/**
 * When the values that the model has may be shown in the controls of one command. Pure.
 *
 * What somebody is just entering is theirs: a field that was edited since it was last sent keeps its edit. While
 * commands of ours are on their way, what the server says is older than what we show, and waits.
 */

/** @typedef {{values: Record<string, unknown>, named?: Record<string, Named>}} Told of one command */
/** @typedef {{kind: string, size: number, name?: string}} Named what is with the model and was not kept */

export class Following {
  /** @param {(told: Told, edited: Set<string>) => void} write */
  constructor(write) {
    this.write = write;
    /** @type {Set<string>} Fields that were edited and not sent since. */
    this.edited = new Set();
    /** @type {Map<string, string[]>} The fields of what is sent and not answered, by request id. */
    this.sending = new Map();
    /** @type {Told | null} What waits to be shown. */
    this.waiting = null;
  }

  /** @param {string} field */
  touched(field) {
    this.edited.add(field);
  }

  /** @param {string} requestId */
  sent(requestId) {
    this.sending.set(requestId, [...this.edited]);
    this.edited.clear();
  }

  /**
   * What was refused stays as it was entered.
   * @param {string} requestId
   * @param {boolean} accepted
   */
  answered(requestId, accepted) {
    if (!accepted) for (const field of this.sending.get(requestId) ?? []) this.edited.add(field);
    this.sending.delete(requestId);
    this.show();
  }

  /** @param {Told} told */
  tell(told) {
    this.waiting = told;
    this.show();
  }

  /** Another connection: nothing is on its way on it. */
  clear() {
    this.sending.clear();
    this.waiting = null;
  }

  show() {
    if (this.waiting === null || this.sending.size > 0) return;
    const told = this.waiting;
    this.waiting = null;
    this.write(told, this.edited);
  }
}
