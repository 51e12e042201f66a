/**
 * The model's OpenAPI document → commands with typed fields. Pure: JSON in, plain values out.
 *
 * A field: {name, path, label, description, kind, required, nullable, hasDefault, default, ...constraints}
 *   kind       text · multiline · color · number · slider · toggle · choice · image · file · list · group · json
 *   number     min, max, step, integer        (slider is a number with both ends, not too far apart)
 *   choice     choices: [{value, label}], style: "pills" | "menu"
 *   image      encoding: "base64" | "upload" | "either"
 *   list       item: field, minItems, maxItems;   group   fields: [field]
 * What has no control of its own (maps, unions, recursion) is `json`: a text box for JSON.
 *
 * What an author declared for pages is beside it, or guessed: label, hint, group, primary of a command; label,
 * placeholder, examples, alsoHeld, look of a field.
 */

/**
 * @typedef {{value: any, label: string}} Choice
 * @typedef {object} Field
 * @property {string} name
 * @property {string} path
 * @property {string} label
 * @property {string} description
 * @property {string} kind
 * @property {boolean} required
 * @property {boolean} nullable
 * @property {boolean} hasDefault
 * @property {any} default
 * @property {boolean} [integer]
 * @property {number | null} [min]
 * @property {number | null} [max]
 * @property {number | null} [step]
 * @property {number | null} [minLength]
 * @property {number | null} [maxLength]
 * @property {string | null} [pattern]
 * @property {Choice[]} [choices]
 * @property {"pills" | "menu"} [style]
 * @property {"base64" | "upload" | "either"} [encoding]
 * @property {Field | null} [item]
 * @property {Field[]} [items]
 * @property {number} [minItems]
 * @property {number | null} [maxItems]
 * @property {Field[]} [fields]
 * @property {string} placeholder
 * @property {any[]} examples values to press
 * @property {boolean} alsoHeld the list of what is held beside the keys chosen
 * @property {Look | null} look what dragging over the picture moves it
 *
 * @typedef {Partial<Field>} Shape what makes a field's control
 * @typedef {"x" | "y" | Partial<Record<"left" | "right" | "up" | "down", string>>} Look
 * @typedef {{name: string, label: string, description: string, hint: string, group: string, primary: boolean,
 *   fields: Field[]}} Command
 * @typedef {{name: string, kind: "video" | "audio", direction: "in" | "out"}} Track
 * @typedef {{title: string, version: string, description: string, tracks: Track[], commands: Command[],
 *   firstFrame: string}} Model
 *
 * @typedef {import("./references.js").Json} Json
 * @typedef {import("./references.js").Context} Context
 */

import { commandLabel, fieldLabel, PICTURE } from "./labels.js";
import { resolve, withoutNull } from "./references.js";

const DEPTH_MAX = 6;
const PILLS_MAX = 6;
const PILL_TEXT_MAX = 44;
const LONG_TEXT = 120;
const SHORT_TEXT = 80;
/** A slider over more whole numbers than this cannot be aimed. */
const SLIDER_STEPS_MAX = 2000;
const IMAGE_NAME = /(^|_)(image|img|picture|photo|base64)(_|$)/i;
/** An identifier is one line however long it may be. */
export const ID_NAME = /(^|_)(id|name|key|title)$/i;
const TEXT_NAME = /(^|_)(prompt|text|caption|story|script|lyrics|instructions?)(_|$)/i;
const UPLOAD = "reactor-upload-reference";

/**
 * Title, version, tracks and commands of the document; empty ones for `{}`, which is what comes before the
 * load.
 * @param {Json | null} given
 * @returns {Model}
 */
export function readSchema(given) {
  const document = given ?? {};
  const info = document.info ?? {};
  const commands = [];
  /** @type {[string, Json | null][]} */
  const paths = Object.entries(document.paths ?? {});
  for (const [path, item] of paths) {
    if (!path.startsWith("/events/") || !item?.post) continue;
    commands.push(readCommand(path.slice("/events/".length), item.post, document));
  }
  return {
    title: typeof info.title === "string" ? info.title : "",
    version: typeof info.version === "string" ? info.version : "",
    description: typeof info.description === "string" ? info.description : "",
    tracks: Array.isArray(document["x-reactor"]?.tracks) ? document["x-reactor"].tracks : [],
    commands,
    firstFrame: line(document["x-reactor"]?.first_frame),
  };
}

/**
 * @param {string} pathName
 * @param {Json} operation
 * @param {Json} document
 * @returns {Command}
 */
function readCommand(pathName, operation, document) {
  const name = operation.operationId ?? pathName;
  const schema = resolve(operation.requestBody?.content?.["application/json"]?.schema ?? {}, {
    document,
    root: {},
  });
  const context = { document, root: schema };
  const label = line(operation["x-label"]) || commandLabel(name);
  return {
    name,
    label,
    description: operation.description ?? operation.summary ?? "",
    hint: line(operation["x-hint"]),
    group: line(operation["x-group"]),
    primary: operation["x-primary"] === true,
    fields: readFields(schema, context, "", 0).map((field) =>
      field.kind === "image" && field.label === PICTURE && IMAGE_NAME.test(name) && !isLabelled(field, schema)
        ? { ...field, label }
        : field,
    ),
  };
}

/**
 * @param {Field} field
 * @param {Json} schema the command's
 */
const isLabelled = ({ name }, schema) => Boolean(schema.properties?.[name]?.["x-label"]);

/**
 * A value that should be a line of text.
 * @param {unknown} value
 */
const line = (value) => (typeof value === "string" ? value : "");

/**
 * @param {Json} schema
 * @param {Context} context
 * @param {string} path
 * @param {number} depth
 */
function readFields(schema, context, path, depth) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, part]) =>
    readField(part, context, {
      name,
      path: path ? `${path}.${name}` : name,
      required: required.has(name),
      depth,
    }),
  );
}

/**
 * One parameter. `$ref`s are looked up in the command's own `$defs` first, then in the document.
 * @param {Json} part
 * @param {Context} context
 * @param {{name: string, path: string, required: boolean, depth: number}} where
 * @returns {Field}
 */
function readField(part, context, { name, path, required, depth }) {
  const { schema, nullable } = withoutNull(resolve(part, context), context);
  /** @type {Omit<Field, "kind">} */
  const field = {
    name,
    path,
    label: line(part["x-label"] ?? schema["x-label"]) || fieldLabel(name, schema),
    description: part.description ?? schema.description ?? "",
    required,
    nullable,
    hasDefault: "default" in part || "default" in schema,
    default: "default" in part ? part.default : schema.default,
    placeholder: line(schema["x-placeholder"]),
    examples: Array.isArray(schema.examples) ? schema.examples : [],
    alsoHeld: schema["x-also-held"] === true,
    look: schema["x-look"] ?? null,
  };
  if (depth > DEPTH_MAX) return { ...field, kind: "json" };
  return { ...field, ...shape(schema, context, { name, path, depth }) };
}

/**
 * @param {Json} schema
 * @param {Context} context
 * @param {{name: string, path: string, depth: number}} where
 * @returns {Shape & {kind: string}}
 */
function shape(schema, context, { name, path, depth }) {
  const image = pictureShape(schema, context, name);
  if (image) return image;
  const values = choiceValues(schema, context);
  if (values) return choiceShape(values);
  switch (schema.type) {
    case "boolean":
      return { kind: "toggle" };
    case "integer":
    case "number":
      return numberShape(schema);
    case "string":
      return textShape(schema, name);
    case "array":
      return listShape(schema, context, { path, depth });
    case "object":
      if (schema.properties) return { kind: "group", fields: readFields(schema, context, path, depth + 1) };
      return { kind: "json" };
    default:
      return { kind: "json" };
  }
}

/**
 * @param {Json} schema
 * @param {Context} context
 * @param {string} name
 * @returns {Shape & {kind: string} | null}
 */
function pictureShape(schema, context, name) {
  /** @type {Json[]} */
  const given = schema.anyOf ?? schema.oneOf ?? [schema];
  const options = given.map((option) => resolve(option, context));
  const upload = options.find((option) => option.format === UPLOAD);
  const text = options.find((option) => option.type === "string");
  const encoded =
    text &&
    (text.contentEncoding === "base64" ||
      /base64|byte|binary|image/.test(text.format ?? "") ||
      /^image\//.test(text.contentMediaType ?? ""));
  if (upload && !text) {
    const picture =
      IMAGE_NAME.test(name) || /^image\//.test(schema.contentMediaType ?? schema["x-media-type"] ?? "");
    return { kind: picture ? "image" : "file", encoding: "upload" };
  }
  if (upload) return { kind: "image", encoding: "either" };
  if (encoded) return { kind: "image", encoding: "base64" };
  // An identifier of a picture (`image_id`) or its address is text, not a picture.
  const named = IMAGE_NAME.test(name) && !/_(id|ids|name|url|path|count|size)$/i.test(name);
  return options.length === 1 && text && !text.enum && named ? { kind: "image", encoding: "base64" } : null;
}

/**
 * @param {Json} schema
 * @param {Context} context
 * @returns {any[] | null}
 */
function choiceValues(schema, context) {
  if (Array.isArray(schema.enum)) return schema.enum;
  if ("const" in schema) return [schema.const];
  /** @type {Json[] | undefined} */
  const options = schema.anyOf ?? schema.oneOf;
  if (!options) return null;
  const values = options.map((option) => choiceValues(resolve(option, context), context));
  return values.some((value) => value === null) ? null : values.flat();
}

/**
 * @param {any[]} values
 * @returns {Shape & {kind: string}}
 */
function choiceShape(values) {
  const choices = values.map((value) => ({
    value,
    label: typeof value === "string" ? value : JSON.stringify(value),
  }));
  const length = choices.reduce((sum, choice) => sum + choice.label.length + 2, 0);
  return {
    kind: "choice",
    choices,
    style: choices.length <= PILLS_MAX && length <= PILL_TEXT_MAX ? "pills" : "menu",
  };
}

/**
 * @param {Json} schema
 * @returns {Shape & {kind: string}}
 */
function numberShape(schema) {
  const integer = schema.type === "integer";
  const given = typeof schema.multipleOf === "number" ? schema.multipleOf : null;
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const high = schema.maximum ?? schema.exclusiveMaximum;
  const bounded = typeof low === "number" && typeof high === "number" && high > low;
  const step = given ?? (integer ? 1 : bounded ? niceStep((high - low) / 200) : null);
  const min =
    schema.minimum ??
    (typeof schema.exclusiveMinimum === "number" ? tidy(schema.exclusiveMinimum + (step ?? 0)) : null);
  const max =
    schema.maximum ??
    (typeof schema.exclusiveMaximum === "number" ? tidy(schema.exclusiveMaximum - (step ?? 0)) : null);
  const aimable = bounded && step !== null && (max - min) / step <= SLIDER_STEPS_MAX;
  return { kind: aimable ? "slider" : "number", integer, min, max, step };
}

/**
 * @param {Json} schema
 * @param {string} name
 * @returns {Shape & {kind: string}}
 */
function textShape(schema, name) {
  const limits = {
    minLength: schema.minLength ?? null,
    maxLength: schema.maxLength ?? null,
    pattern: schema.pattern ?? null,
  };
  if (schema.format === "color") return { kind: "color", ...limits };
  const long =
    !ID_NAME.test(name) &&
    ((TEXT_NAME.test(name) && !(schema.maxLength <= SHORT_TEXT)) ||
    (schema.maxLength ?? 0) > LONG_TEXT ||
    schema.format === "multiline");
  return { kind: long ? "multiline" : "text", ...limits };
}

/**
 * @param {Json} schema
 * @param {Context} context
 * @param {{path: string, depth: number}} where
 * @returns {Shape & {kind: string}}
 */
function listShape(schema, context, { path, depth }) {
  const tuple = Array.isArray(schema.prefixItems) ? schema.prefixItems : null;
  const items = tuple ?? (schema.items ? [schema.items] : null);
  if (!items) return { kind: "json" };
  /**
   * @param {Json} part
   * @param {number} index
   */
  const read = (part, index) =>
    readField(part, context, { name: "item", path: `${path}.${index}`, required: true, depth: depth + 1 });
  if (tuple) {
    return {
      kind: "list",
      items: tuple.map(read),
      item: null,
      minItems: tuple.length,
      maxItems: tuple.length,
    };
  }
  return {
    kind: "list",
    items: [],
    item: read(items[0], 0),
    minItems: schema.minItems ?? 0,
    maxItems: schema.maxItems ?? null,
  };
}

/**
 * The 1, 2 or 5 times a power of ten at or below `value`.
 * @param {number} value
 */
export function niceStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const digit = value / power;
  return tidy((digit >= 5 ? 5 : digit >= 2 ? 2 : 1) * power);
}

/**
 * Take off the binary dust of decimal arithmetic.
 * @param {number} value
 */
export function tidy(value) {
  return Number(value.toPrecision(12));
}
