/**
 * What can be scaffolded. A project is its template's layers, copied one over the other: what all three need
 * is in `common` once, so the three stay alike.
 */

import { fileURLToPath } from "node:url";

export const TEMPLATES_FOLDER = fileURLToPath(new URL("../templates", import.meta.url));

/** @typedef {"dynamic" | "longlive" | "matrix"} TemplateName */

/** @type {Record<TemplateName, { label: string, hint: string, layers: string[] }>} */
export const TEMPLATES = {
  dynamic: {
    label: "Dynamic",
    hint: "controls for any model, made from its schema",
    layers: ["common", "with-images", "dynamic"],
  },
  longlive: {
    label: "LongLive",
    hint: "prompt while the video plays",
    layers: ["common", "longlive"],
  },
  matrix: {
    label: "Matrix",
    hint: "play with keyboard, mouse or touch",
    layers: ["common", "with-images", "matrix"],
  },
};

export const TEMPLATE_NAMES = /** @type {TemplateName[]} */ (Object.keys(TEMPLATES));
