/** Names of an API → words for people. Pure. */

/** What a picture is called when its own name says no more. */
export const PICTURE = "Picture";

/**
 * "set_prompt" → "Set prompt".
 * @param {string} name
 */
export function words(name) {
  const text = name
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replace(/[_\-.]+/g, " ")
    .trim()
    .toLowerCase();
  return text ? text[0].toUpperCase() + text.slice(1) : name;
}

/**
 * "set_starting_image" → "Starting picture": what is set says enough, and this page calls images pictures.
 * @param {string} name
 */
export const commandLabel = (name) => plainWords(words(name.replace(/^set[_-](?=.)/i, "")));

/**
 * The words of a field: its title, else its name without how a picture is written down.
 * @param {string} name
 * @param {import("./references.js").Json} schema
 */
export function fieldLabel(name, schema) {
  if (typeof schema.title === "string" && schema.title.length <= 40 && !isGenerated(schema))
    return words(schema.title);
  const label = plainWords(words(name.replace(/(^|_)(base64|b64)(?=_|$)/i, "")));
  return label === "Base64" ? PICTURE : label;
}

/** @param {string} label */
const plainWords = (label) => label.replace(/\b(image|img)\b/g, "picture").replace(/^(Image|Img)\b/, "Picture");

/**
 * Object schemas carry their class name as title, which says less than the parameter's name.
 * @param {import("./references.js").Json} schema
 */
function isGenerated(schema) {
  return schema.type === "object" || Boolean(schema.enum);
}
