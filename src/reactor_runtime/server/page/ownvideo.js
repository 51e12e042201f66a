/** Opening what one sends: the camera, or a film that plays in a loop. Loaded when somebody sends something. */

import { filmStream, uprightStream } from "./upright.js";

const CAMERA = {
  width: { ideal: 640 },
  height: { ideal: 480 },
  frameRate: { ideal: 30 },
  facingMode: "user",
};

/** @type {Record<string, string>} */
const CAMERA_ERRORS = {
  NotAllowedError: "The browser may not use the camera. Allow it in the address bar, then try again.",
  NotFoundError: "No camera was found. You can send a video file instead.",
  NotReadableError: "The camera is in use by another program.",
  OverconstrainedError: "This camera cannot deliver a suitable picture.",
};

/** Rejects with words. */
export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error(
      "The camera works on https and on localhost only. Open this page there, for instance through an SSH tunnel.",
    );
  }
  try {
    return await uprightStream(await navigator.mediaDevices.getUserMedia({ video: CAMERA }));
  } catch (caught) {
    const error = /** @type {Error} */ (caught);
    throw new Error(CAMERA_ERRORS[error.name] ?? `The camera could not be opened: ${error.message}`, { cause: caught });
  }
}

/**
 * Rejects with words. The player is its caller's, who stops it and gives its address back.
 * @param {File} file
 */
export async function openFilm(file) {
  const player = document.createElement("video");
  Object.assign(player, { muted: true, loop: true, playsInline: true, src: URL.createObjectURL(file) });
  try {
    await player.play();
    return { player, stream: await filmStream(player) };
  } catch (error) {
    URL.revokeObjectURL(player.src);
    throw new Error(`This video cannot be played: ${/** @type {Error} */ (error).message}.`, { cause: error });
  }
}
