/** Pictures small enough for a command: the data channel takes messages up to 256 KB. */

const LONGEST_SIDE = 768;
const MAX_CHARACTERS = 180_000;

/** Read a picture and return it as base64 JPEG, without the `data:` in front. */
export async function imageAsBase64(source: Blob): Promise<string> {
  const url = URL.createObjectURL(source);
  try {
    return await asBase64(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The same from an address: a file of this app, or one that its server lets others read. */
export async function asBase64(url: string): Promise<string> {
  const image = new Image();
  image.crossOrigin = "anonymous";
  image.src = url;
  await image.decode();

  const scale = Math.min(1, LONGEST_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.naturalWidth * scale);
  canvas.height = Math.round(image.naturalHeight * scale);
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);

  for (const quality of [0.9, 0.75, 0.6, 0.4]) {
    const base64 = canvas.toDataURL("image/jpeg", quality).split(",")[1]!;
    if (base64.length <= MAX_CHARACTERS) return base64;
  }
  throw new Error("This picture has too much detail to be sent.");
}
