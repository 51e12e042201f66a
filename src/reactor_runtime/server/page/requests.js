/** Requests on a connection's control channel, each until its answer, its time or the connection's end. */

import { encodeRequest } from "./wire.js";

const REQUEST_MS = 10_000;

export class Requests {
  /** @param {(text: string) => boolean} send false where it cannot be sent now */
  constructor(send) {
    this.send = send;
    /** @type {Map<string, {resolve: (data: any) => void, reject: (error: Error) => void, timer: ReturnType<typeof setTimeout>}>} */
    this.waiting = new Map();
    this.count = 0;
  }

  /**
   * Ask, and wait for the answer; rejects with the server's words.
   * @param {string} method
   * @param {Record<string, unknown>} data
   * @returns {Promise<Record<string, any>>}
   */
  ask(method, data) {
    this.count += 1;
    const requestId = `ctrl_${this.count}`;
    return new Promise((resolve, reject) => {
      if (!this.send(encodeRequest(method, requestId, data))) {
        reject(new Error("There is no connection to the model."));
        return;
      }
      const timer = setTimeout(
        () => this.settle({ requestId, error: { message: "The server did not answer." } }),
        REQUEST_MS,
      );
      this.waiting.set(requestId, { resolve, reject, timer });
    });
  }

  /** @param {{requestId: string, data?: any, error: {message: string} | null} | null} response */
  settle(response) {
    const asked = response && this.waiting.get(response.requestId);
    if (!asked) return;
    this.waiting.delete(response.requestId);
    clearTimeout(asked.timer);
    if (response.error) asked.reject(new Error(response.error.message));
    else asked.resolve(response.data);
  }

  /** The connection is closed: nothing will be answered. */
  close() {
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(new Error("The connection was closed."));
    }
    this.waiting.clear();
  }
}
