/** Sending a command: its uploads first, its number, its size, and the moment it left. */

import { encodeCommand, encodeRuntime, MESSAGE_MAX_BYTES, sizeBytes } from "./wire.js";

/** @typedef {import("./picture.js").Upload} Upload */
/** @typedef {{upload: Upload, holder: Record<string, unknown>, key: string, path: string}} Placed */

export class Sender {
  /**
   * @param {import("./server.js").Server} server
   * @param {import("./session.js").Session} session
   * @param {import("./latency.js").DelayTracker} tracker
   */
  constructor(server, session, tracker) {
    this.server = server;
    this.session = session;
    this.tracker = tracker;
    this.count = 0;
  }

  /**
   * Send a command; resolves to its request id. `onId` is told the id before anything can answer it.
   * @param {string} name
   * @param {Record<string, unknown>} args
   * @param {Placed[]} [uploads]
   * @param {(requestId: string) => void} [onId]
   */
  async send(name, args, uploads = [], onId = () => {}) {
    const references = await this.upload(uploads);
    this.count += 1;
    const requestId = `page_${this.count}`;
    const text = encodeCommand(name, args, { requestId, uploads: references });
    const bytes = sizeBytes(text);
    if (bytes > MESSAGE_MAX_BYTES) {
      throw new Error(
        `This is too large to send: ${Math.ceil(bytes / 1024)} KiB, and ${MESSAGE_MAX_BYTES / 1024} KiB fit.`,
      );
    }
    onId(requestId);
    this.tracker.sent(requestId, name, performance.now());
    if (!this.session.connection?.send(text)) {
      this.tracker.drop(requestId);
      throw new Error("There is no connection to the model.");
    }
    return requestId;
  }

  /**
   * Bring the files to the server. A parameter's own file is named beside the arguments; one inside an
   * argument is replaced by its reference.
   * @param {Placed[]} uploads
   */
  async upload(uploads) {
    /** @type {Record<string, unknown>} */
    const references = {};
    for (const { upload, holder, key, path } of uploads) {
      const { session_id: sessionId } = this.session.descriptor ?? {};
      if (!sessionId) throw new Error("There is no connection to the model.");
      const reference = await this.server.upload(sessionId, upload.blob, upload.name);
      this.session.connection?.send(encodeRuntime("fileUploaded", reference));
      if (path === key) {
        references[key] = reference;
        delete holder[key];
      } else {
        holder[key] = reference;
      }
    }
    return references;
  }
}
