/**
 * What a part of a JSON Schema says once its references are followed and its `null` is taken out. Pure.
 *
 * @typedef {Record<string, any>} Json a part of a document, which may hold anything
 * @typedef {{document: Json, root: Json}} Context where references are looked up: first in the command's own
 *   schema, then in the document
 */

/**
 * Follow `$ref`s; what stands beside a reference wins over what it points to.
 * @param {Json} part
 * @param {Context} context
 * @returns {Json}
 */
export function resolve(part, context) {
  let schema = part ?? {};
  for (let hops = 0; hops < 16; hops += 1) {
    if (typeof schema.$ref === "string") {
      const { $ref, ...beside } = schema;
      schema = { ...lookUp($ref, context), ...beside };
    } else if (Array.isArray(schema.allOf) && schema.allOf.length === 1) {
      const { allOf, ...beside } = schema;
      schema = { ...allOf[0], ...beside };
    } else {
      return schema;
    }
  }
  return {};
}

/**
 * @param {string} reference
 * @param {Context} context
 * @returns {Json}
 */
function lookUp(reference, { document, root }) {
  const steps = reference
    .replace(/^#\//, "")
    .split("/")
    .map((step) => step.replace(/~1/g, "/").replace(/~0/g, "~"));
  for (const start of [root, document]) {
    /** @type {any} */
    let at = start;
    for (const step of steps) at = Object.hasOwn(Object(at), step) ? at[step] : undefined;
    if (typeof at === "object" && at !== null) return at;
  }
  return {};
}

/**
 * Take `null` out of a schema: `anyOf: [X, null]`, `type: [X, "null"]` and enums with null.
 * @param {Json} schema
 * @param {Context} context
 * @returns {{schema: Json, nullable: boolean}}
 */
export function withoutNull(schema, context) {
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type) => type !== "null");
    return {
      schema: { ...schema, type: types.length === 1 ? types[0] : undefined },
      nullable: types.length < schema.type.length,
    };
  }
  const key = schema.anyOf ? "anyOf" : "oneOf";
  if (Array.isArray(schema[key])) {
    /** @type {Json[]} */
    const given = schema[key];
    const options = given
      .map((option) => resolve(option, context))
      .filter((option) => option.type !== "null");
    const nullable = options.length < given.length;
    const beside = { ...schema };
    delete beside[key];
    if (options.length === 1) return { schema: { ...options[0], ...beside }, nullable };
    if (options.every((option) => option.type === "integer" || option.type === "number")) {
      return { schema: { ...options[0], ...beside, type: "number" }, nullable };
    }
    return { schema: { ...beside, anyOf: options }, nullable };
  }
  if (Array.isArray(schema.enum) && schema.enum.includes(null)) {
    return { schema: { ...schema, enum: schema.enum.filter((value) => value !== null) }, nullable: true };
  }
  return { schema, nullable: false };
}
