/**
 * Turning a stream's pictures the way up that the browser shows them.
 *
 * A film from a phone, and some cameras, store their pictures lying and say beside them how to turn and mirror
 * them. Browsers show that, but what they send of a film is the stored picture, or nothing where the receiver
 * does not turn it.
 */

/** A camera or film that shows nothing for this long is sent as it is. */
const FIRST_FRAME_MS = 2_000;

/**
 * Chromium alone hands out the frames of a stream; no standard library of types has these yet.
 * @type {{MediaStreamTrackProcessor?: any, MediaStreamTrackGenerator?: any}}
 */
const { MediaStreamTrackProcessor, MediaStreamTrackGenerator } = /** @type {any} */ (window);
const framesAtHand = Boolean(MediaStreamTrackProcessor && MediaStreamTrackGenerator);

/**
 * Return a stream of upright pictures: the same one where they are upright already.
 * @param {MediaStream} stream
 */
export async function uprightStream(stream) {
  if (!framesAtHand) return stream;
  const [track] = stream.getVideoTracks();
  if (!(await isTurned(track))) return stream;
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(1, 1).getContext("2d"));
  const turning = new TransformStream({
    transform: (frame, frames) => frames.enqueue(upright(frame, context)),
  });
  const generator = new MediaStreamTrackGenerator({ kind: "video" });
  new MediaStreamTrackProcessor({ track }).readable
    .pipeThrough(turning)
    .pipeTo(generator.writable)
    .catch(() => {}) // one of the two tracks was stopped
    .finally(() => track.stop());
  return new MediaStream([generator]);
}

/**
 * Return the stream of a film that plays: upright, and without sound.
 * @param {HTMLVideoElement} player
 */
export async function filmStream(player) {
  if (!framesAtHand) return paintedStream(player);
  return uprightStream(new MediaStream(/** @type {any} */ (player).captureStream().getVideoTracks()));
}

/**
 * The film as the browser paints it; it pauses with the painting while its tab is hidden.
 * @param {HTMLVideoElement} player
 */
function paintedStream(player) {
  const canvas = document.createElement("canvas");
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const [track] = canvas.captureStream().getVideoTracks();
  const paint = () => {
    if (track.readyState === "ended") return;
    fit(canvas, player.videoWidth, player.videoHeight);
    context.drawImage(player, 0, 0, canvas.width, canvas.height);
    player.requestVideoFrameCallback(paint);
  };
  paint();
  return new MediaStream([track]);
}

/** @param {MediaStreamTrack} track */
async function isTurned(track) {
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  const timer = setTimeout(() => reader.cancel(), FIRST_FRAME_MS);
  const { value: frame } = await reader.read();
  clearTimeout(timer);
  reader.cancel();
  if (!frame) return false;
  const turned = Boolean(frame.rotation || frame.flip);
  frame.close();
  return turned;
}

/**
 * @param {any} frame a VideoFrame, with what says how it lies
 * @param {OffscreenCanvasRenderingContext2D} context
 */
function upright(frame, context) {
  if (!frame.rotation && !frame.flip) return frame;
  fit(context.canvas, frame.displayWidth, frame.displayHeight);
  context.drawImage(frame, 0, 0);
  const { timestamp } = frame;
  frame.close();
  return new VideoFrame(context.canvas, { timestamp });
}

/**
 * Setting a size takes new memory, even when it is the same.
 * @param {HTMLCanvasElement | OffscreenCanvas} canvas
 * @param {number} width
 * @param {number} height
 */
function fit(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}
