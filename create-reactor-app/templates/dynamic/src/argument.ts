/** What was entered, as a command takes it: pictures sent, JSON parsed, empty fields left out. */

import type { FileRef } from "@reactor-team/js-sdk";

import { imageAsBase64 } from "./image";
import type { Field, Values } from "./schema";

type Upload = (file: File) => Promise<FileRef>;

export async function argumentsFrom(fields: Field[], values: Values, upload: Upload): Promise<Values> {
  return collect(fields, values, upload);
}

async function collect(fields: Field[], values: Values, upload: Upload): Promise<Values> {
  const filled: Values = {};
  for (const field of fields) {
    const value = await argumentFrom(field, values[field.name], upload);
    if (value !== undefined) filled[field.name] = value;
    else if (field.required) throw new Error(`${field.name} is missing.`);
  }
  return filled;
}

async function argumentFrom(field: Field, value: unknown, upload: Upload): Promise<unknown> {
  if (value === undefined || value === "") return undefined;
  switch (field.kind) {
    case "file":
      return upload(value as File);
    case "base64-image":
      return imageAsBase64(value as File);
    case "group":
      // The SDK finds file references among the arguments themselves, so within a group they are spelled out.
      return collect(field.fields, value as Values, async (file) => spelledOut(await upload(file)));
    case "json":
      return parsed(field.name, value as string);
    default:
      return value;
  }
}

function spelledOut({ uploadId, name, mimeType, size }: FileRef): FileRef {
  return { upload_id: uploadId, name, mime_type: mimeType, size } as unknown as FileRef;
}

function parsed(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${name} is not JSON, as in [1, 2] or {"a": 1}.`);
  }
}
