/**
 * Which picture a stream displays, where the browser does not tell it with an RTP timestamp: asked of whoever made the
 * stream. A stream of WebRTC is not in here.
 */

/**
 * @typedef {{number: number, receivedMs: number, decodeMs: number}} Known
 * @type {WeakMap<MediaProvider, (metadata: Partial<VideoFrameCallbackMetadata>) => Known | null>}
 */
export const frameNumbers = new WeakMap();
