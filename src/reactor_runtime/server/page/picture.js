/** The control of a picture or file parameter: drop, choose or paste; shows what will be sent. */

import { el, icon } from "./dom.js";
import { FieldProblem } from "./problem.js";
import { MESSAGE_MAX_BYTES } from "./wire.js";

/** Room for the rest of a command in the message that carries a picture. */
const ENVELOPE_BYTES = 8 * 1024;
const UPLOAD_MAX_BYTES = 16 * 1024 * 1024;
const UPLOAD_MAX_SIDE = 4096;

/** A file that goes to the server before the command that names it. */
export class Upload {
  /**
   * @param {Blob} blob
   * @param {string} name
   */
  constructor(blob, name) {
    this.blob = blob;
    this.name = name;
  }
}

/**
 * The uploads among a command's arguments, each with the place it is in.
 * @param {Record<string, any>} args
 */
export function uploadsIn(args) {
  /** @type {import("./sender.js").Placed[]} */
  const uploads = [];
  /**
   * @param {Record<string, any>} holder
   * @param {string} key
   * @param {string} path
   */
  const seek = (holder, key, path) => {
    const value = holder[key];
    if (value instanceof Upload) uploads.push({ upload: value, holder, key, path });
    else if (typeof value === "object" && value !== null)
      for (const inner of Object.keys(value)) seek(value, inner, `${path}.${inner}`);
  };
  for (const key of Object.keys(args)) seek(args, key, key);
  return uploads;
}

/**
 * `pictures` is how many pictures share one message.
 * @param {import("./schema.js").Field} field
 * @param {import("./controls.js").Options} options
 * @returns {import("./controls.js").Inner}
 */
export function pictureControl(field, { id, command, onInput, pictures = 1 }) {
  const picture = field.kind === "image";
  const upload = field.encoding !== "base64";
  // Base64 makes four bytes of three.
  const messageBytes = Math.floor(((MESSAGE_MAX_BYTES - ENVELOPE_BYTES) / pictures) * 0.75);
  const maxBytes = upload ? UPLOAD_MAX_BYTES : messageBytes;
  const file = el("input", {
    id,
    type: "file",
    accept: picture ? "image/*" : "",
    data: { testid: `file-${command}.${field.path}` },
  });
  const preview = el("img", { alt: "", hidden: true });
  const caption = el(
    "span",
    { class: "drop-text" },
    picture ? "Drop, paste or choose a picture" : "Drop or choose a file",
  );
  const remove = el(
    "button",
    { type: "button", class: "quiet", hidden: true, "aria-label": `Remove ${field.label}` },
    icon("close"),
  );
  const element = el(
    "div",
    { class: "drop" },
    file,
    preview,
    el("div", { class: "drop-words" }, picture ? icon("image") : icon("file"), caption),
    remove,
  );
  /** @type {{blob: Blob, name: string, text: string} | null} */
  let held = null;
  let isNamed = false;
  let problem = "";

  /**
   * @param {string} text
   * @param {string} [address]
   */
  const show = (text, address = "") => {
    if (preview.src.startsWith("blob:")) URL.revokeObjectURL(preview.src);
    preview.hidden = !address;
    if (address) preview.src = address;
    else preview.removeAttribute("src");
    caption.textContent = text;
    isNamed = false;
    remove.hidden = held === null;
    element.classList.toggle("filled", held !== null);
  };
  const clear = () => {
    held = null;
    problem = "";
    file.value = "";
    show(picture ? "Drop, paste or choose a picture" : "Drop or choose a file");
  };
  /** @param {File | null | undefined} blob */
  const take = async (blob) => {
    if (!blob) return;
    problem = "";
    caption.textContent = "Reading…";
    try {
      if (picture) {
        const { fitPicture, toBase64 } = await import("./images.js");
        const fitted = await fitPicture(blob, { maxBytes, maxSide: upload ? UPLOAD_MAX_SIDE : undefined });
        const inline =
          field.encoding === "base64" || (field.encoding === "either" && fitted.blob.size <= messageBytes);
        held = {
          blob: fitted.blob,
          name: blob.name || "picture",
          text: inline ? await toBase64(fitted.blob) : "",
        };
        show(
          `${fitted.width} × ${fitted.height}, ${sizeText(fitted.blob.size)}`,
          URL.createObjectURL(fitted.blob),
        );
      } else if (blob.size > maxBytes) {
        throw new Error(`This file is too large: ${sizeText(blob.size)}; up to ${sizeText(maxBytes)} fits.`);
      } else {
        const name = blob.name || "file";
        held = { blob, name, text: "" };
        show(`${name}, ${sizeText(blob.size)}`);
      }
    } catch (error) {
      clear();
      problem = /** @type {Error} */ (error).message;
      caption.textContent = problem;
    }
    element.dispatchEvent(new Event("input", { bubbles: true }));
    onInput();
  };
  file.addEventListener("change", () => take(file.files?.[0]));
  remove.addEventListener("click", () => {
    clear();
    file.focus();
    onInput();
  });
  for (const type of ["dragenter", "dragover"]) {
    element.addEventListener(type, (event) => {
      event.preventDefault();
      element.classList.add("over");
    });
  }
  for (const type of ["dragleave", "drop"])
    element.addEventListener(type, () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer?.files[0]);
  });
  return {
    element,
    targets: [file],
    accepts: picture ? take : undefined,
    fileName: () => held?.name ?? "",
    read: () => {
      if (held !== null) return held.text || new Upload(held.blob, held.name);
      if (problem) throw new FieldProblem(field.path, problem);
      if (!field.required) return undefined;
      throw new FieldProblem(field.path, picture ? "Choose a picture first." : "Choose a file first.");
    },
    write: () => {},
    // What was sent from here is shown already; after a reset a picture stays, to be sent again.
    named: (named) => {
      if (named === null) {
        if (isNamed) clear();
        return;
      }
      const { kind, name, size } = named;
      if (held && (held.text.length || held.blob.size) === size) return;
      clear();
      const bytes = kind === "upload" ? size : Math.floor(size * 0.75);
      caption.textContent = `The model has ${name || (picture ? "a picture" : "a file")}, ${sizeText(bytes)}`;
      isNamed = true;
    },
  };
}

/**
 * "84 kB", "1.2 MB".
 * @param {number} bytes
 */
function sizeText(bytes) {
  return bytes < 1_000_000
    ? `${Math.max(1, Math.round(bytes / 1000))} kB`
    : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
