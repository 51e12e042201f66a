/** The model's schema turned into commands and the kind of control each parameter needs. Pure. */

import type { JsonSchema, ModelSchema } from "./runtime";

export type Command = { name: string; summary: string; fields: Field[] };

type Control =
  | { kind: "text"; minLength?: number; maxLength?: number }
  | { kind: "number"; min?: number; max?: number; integer: boolean }
  | { kind: "switch" }
  | { kind: "choice"; options: (string | number)[] }
  /** Uploaded, and the command gets a reference. */
  | { kind: "file" }
  /** Sent within the command as base64. */
  | { kind: "base64-image" }
  | { kind: "group"; fields: Field[] }
  /** Whatever has no control of its own is typed as JSON. */
  | { kind: "json" };

export type Field = Control & {
  name: string;
  help: string;
  /** Must be filled in; otherwise empty means: leave it out. */
  required: boolean;
  initial: unknown;
};

const DEEPEST_GROUP = 3;

export function commandsOf(schema: ModelSchema): Command[] {
  return Object.values(schema.paths).map(({ post }) => ({
    name: post.operationId,
    summary: post.summary ?? "",
    fields: fieldsOf(post.requestBody.content["application/json"].schema, schema, 0),
  }));
}

function fieldsOf(object: JsonSchema, schema: ModelSchema, depth: number): Field[] {
  return Object.entries(object.properties ?? {}).map(([name, declared]) => {
    const resolved = resolve(declared, schema);
    return {
      ...controlFor(name, resolved, schema, depth),
      name,
      help: resolved.description ?? "",
      required: object.required?.includes(name) ?? false,
      initial: resolved.default,
    };
  });
}

/** Follow references, and of a choice of shapes take the one with the best control. */
function resolve(declared: JsonSchema, schema: ModelSchema): JsonSchema {
  let resolved = declared;
  const choices = resolved.anyOf?.filter((choice) => choice.type !== "null");
  const best = choices?.find((choice) => choice.$ref) ?? choices?.[0];
  if (best && (choices?.length === 1 || best.$ref)) resolved = { ...best, ...without(resolved, "anyOf") };
  if (resolved.allOf?.length === 1) resolved = { ...resolved.allOf[0], ...without(resolved, "allOf") };
  const target = schema.components.schemas[resolved.$ref?.split("/").pop() ?? ""];
  return target ? resolve({ ...target, ...without(resolved, "$ref") }, schema) : resolved;
}

function controlFor(name: string, of: JsonSchema, schema: ModelSchema, depth: number): Control {
  if (of.format === "reactor-upload-reference") return { kind: "file" };
  const options = of.enum ?? (of.const === undefined ? undefined : [of.const]);
  if (options) return { kind: "choice", options };
  switch (of.type) {
    case "boolean":
      return { kind: "switch" };
    case "number":
    case "integer":
      return { kind: "number", min: of.minimum, max: of.maximum, integer: of.type === "integer" };
    case "string":
      if (of.contentEncoding === "base64" || /base64/i.test(name)) return { kind: "base64-image" };
      return { kind: "text", minLength: of.minLength, maxLength: of.maxLength };
    case "object":
      if (of.properties && depth < DEEPEST_GROUP) {
        return { kind: "group", fields: fieldsOf(of, schema, depth + 1) };
      }
  }
  return { kind: "json" };
}

function without<K extends keyof JsonSchema>(schema: JsonSchema, key: K): Omit<JsonSchema, K> {
  const { [key]: _, ...rest } = schema;
  return rest;
}

/** "set_palette" → "Palette", "go_to" → "Go to". */
export function titleOf(name: string): string {
  const words = name.replace(/^set_(?=.)/, "").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export type Values = Record<string, unknown>;

export function initialValues(fields: Field[]): Values {
  return Object.fromEntries(fields.map((field) => [field.name, initialValue(field)]));
}

function initialValue(field: Field): unknown {
  if (field.kind === "group") return { ...initialValues(field.fields), ...(field.initial as Values | undefined) };
  if (field.kind === "json") return field.initial == null ? "" : JSON.stringify(field.initial);
  if (field.initial != null) return field.initial;
  if (!field.required) return undefined;
  if (field.kind === "switch") return false;
  if (field.kind === "choice") return field.options[0];
  if (field.kind === "number" && field.min !== undefined && field.max !== undefined) return field.min;
  return undefined;
}
