/**
 * Pictures for commands: any file the browser can read → one that fits a message, scaled down only as far as
 * needed.
 *
 * Every picture is encoded again, so that what the preview shows is what the server can read: a file's name may
 * lie about its format, and much follows a phone's picture, such as the place where it was taken.
 */

const MAX_SIDE = 1536;
const MIN_SIDE = 64;
const QUALITIES = [0.95, 0.85, 0.75, 0.6];

/**
 * Return `{blob, width, height}` with `blob.size` at most `maxBytes` and sides at most `maxSide`.
 * Throws an Error with words when the file is not a picture.
 * @param {File | Blob} file
 * @param {{maxBytes: number, maxSide?: number}} limits
 * @returns {Promise<{blob: Blob, width: number, height: number}>}
 */
export async function fitPicture(file, { maxBytes, maxSide = MAX_SIDE }) {
  const bitmap = await decode(file);
  try {
    const { width, height } = bitmap;
    // A drawing keeps every pixel if it fits whole.
    /** @type {[type: string, quality?: number][]} */
    let encodings = QUALITIES.map((quality) => ["image/jpeg", quality]);
    if (file.type === "image/png") encodings = [["image/png"], ...encodings];
    const whole = Math.min(maxSide, Math.max(width, height));
    for (let side = whole; side === whole || side >= MIN_SIDE; side = Math.floor(side * 0.8)) {
      const scale = side / Math.max(width, height);
      const canvas = draw(
        bitmap,
        Math.max(1, Math.round(width * scale)),
        Math.max(1, Math.round(height * scale)),
      );
      for (const encoding of encodings) {
        /** @type {Blob | null} */
        const blob = await new Promise((done) => canvas.toBlob(done, ...encoding));
        if (blob && blob.size <= maxBytes) return { blob, width: canvas.width, height: canvas.height };
      }
    }
  } finally {
    bitmap.close();
  }
  throw new Error("This picture could not be made small enough.");
}

/**
 * The base64 text of a blob, without the `data:` prefix.
 * @param {Blob} blob
 */
export async function toBase64(blob) {
  /** @type {string} */
  const address = await new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(/** @type {string} */ (reader.result));
    reader.onerror = () => fail(new Error("The file could not be read."));
    reader.readAsDataURL(blob);
  });
  return address.slice(address.indexOf(",") + 1);
}

/** @param {File | Blob} file */
async function decode(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(
      `${"name" in file && file.name ? `“${file.name}”` : "This"} is not a picture that this browser can read. Try PNG, JPEG or WebP.`,
    );
  }
}

/**
 * JPEG has no transparency: what is clear becomes white.
 * @param {ImageBitmap} bitmap
 * @param {number} width
 * @param {number} height
 */
function draw(bitmap, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}
