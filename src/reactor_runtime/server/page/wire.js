/**
 * The JSON wire format (v0) of the data channels: values in, text out, and back. Pure.
 *
 * `data` carries commands (scope `application`) and platform traffic (scope `runtime`); `control` carries
 * track verbs. A command carries a `request_id`, which this runtime answers with `commandReceipt` and
 * `commandShown`.
 */

/** @typedef {{scope: string, type: string, data: Record<string, any>}} Said what the other side said */

/** Ceiling of one message in either direction, as the SDP announces it. */
export const MESSAGE_MAX_BYTES = 256 * 1024;

/**
 * Encode a command. `uploads` maps parameter names to upload references.
 * @param {string} name
 * @param {Record<string, unknown>} args
 * @param {{requestId: string, uploads?: Record<string, unknown>}} about
 */
export function encodeCommand(name, args, { requestId, uploads = {} }) {
  /** @type {Record<string, unknown>} */
  const data = { type: name, data: args, request_id: requestId };
  if (Object.keys(uploads).length > 0) data.uploads = uploads;
  return JSON.stringify({ scope: "application", data });
}

/**
 * Encode a message to the runtime itself, such as `ping`.
 * @param {string} type
 * @param {Record<string, unknown>} [data]
 */
export function encodeRuntime(type, data = {}) {
  return JSON.stringify({ scope: "runtime", data: { type, data } });
}

/**
 * Encode a control request that the server answers, such as `publish_track`.
 * @param {string} method
 * @param {string} requestId
 * @param {Record<string, unknown>} data
 */
export function encodeRequest(method, requestId, data) {
  return JSON.stringify({ type: "request", method, request_id: requestId, data });
}

/**
 * Encode a control notification, which nobody answers, such as `resume_track`.
 * @param {string} event
 * @param {Record<string, unknown>} data
 */
export function encodeNotification(event, data) {
  return JSON.stringify({ type: "notification", event, data });
}

/**
 * Decode one frame of the `data` channel to `{scope, type, data}`, or null for what is not one.
 * A frame without a known scope is the model's, as published clients take it.
 * @param {unknown} text
 * @returns {Said | null}
 */
export function decodeData(text) {
  const frame = parseObject(text);
  if (frame === null) return null;
  const inner = isObject(frame.data) && typeof frame.data.type === "string" ? frame.data : frame;
  if (typeof inner.type !== "string") return null;
  return {
    scope: frame.scope === "runtime" ? "runtime" : "application",
    type: inner.type,
    data: isObject(inner.data) ? inner.data : {},
  };
}

/**
 * Decode one frame of the `control` channel to `{method, requestId, data, error}`, or null.
 * @param {unknown} text
 */
export function decodeControl(text) {
  const frame = parseObject(text);
  if (frame === null || frame.type !== "response" || typeof frame.request_id !== "string") return null;
  const error = isObject(frame.error) ? frame.error : null;
  return {
    method: String(frame.method ?? ""),
    requestId: frame.request_id,
    data: isObject(frame.data) ? frame.data : {},
    error: error && { code: String(error.code ?? "error"), message: String(error.message ?? "refused") },
  };
}

/**
 * Bytes that `text` takes on the wire.
 * @param {string} text
 */
export function sizeBytes(text) {
  return new TextEncoder().encode(text).length;
}

/** @param {unknown} text */
function parseObject(text) {
  if (typeof text !== "string") return null;
  try {
    const value = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, any>}
 */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
