/**
 * What is held, such as a key, is let go by the server when this page falls silent. It is told what letting go would
 * say, and hears a beat until then. Timers are slow in a hidden tab, which has let go by then.
 */

import { encodeRuntime } from "./wire.js";

const BEAT_MS = 100;

export class Grip {
  /** @param {() => import("./connection.js").Connection | null} connection */
  constructor(connection) {
    this.connection = connection;
    /** @type {Map<string, Record<string, unknown>>} What letting go would say, by command. */
    this.held = new Map();
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.beating = undefined;
  }

  /**
   * @param {string} command
   * @param {Record<string, unknown> | null} release what it says when it is let go; null: nothing of it is held
   */
  hold(command, release) {
    if (release) this.held.set(command, release);
    else if (!this.held.delete(command)) return;
    const all = [...this.held].map(([name, data]) => ({ command: name, data }));
    this.connection()?.send(encodeRuntime("deadman", { release: all }));
    this.beat();
  }

  /** Nothing is held on another connection. */
  clear() {
    this.held.clear();
    this.beat();
  }

  beat() {
    clearInterval(this.beating);
    if (this.held.size > 0) this.beating = setInterval(() => this.connection()?.beat(), BEAT_MS);
  }
}
