import { useEffect, useState } from "react";

import { type JsonSchema, loadSchema, type ModelSchema } from "./runtime";

/** The schema of the model that is served, read anew for every session: it may be another model by then. */
export function useModel(live: boolean): ModelSchema | undefined {
  const [schema, setSchema] = useState<ModelSchema>();
  useEffect(() => {
    if (!live) return;
    let current = true;
    loadSchema().then(
      (loaded) => current && setSchema(loaded),
      (error: unknown) => console.error("The model's schema could not be read", error),
    );
    return () => {
      current = false;
    };
  }, [live]);
  return schema;
}

export function commandOf(schema: ModelSchema | undefined, name: string) {
  return Object.values(schema?.paths ?? {}).find(({ post }) => post.operationId === name)?.post;
}

export function hasCommand(schema: ModelSchema | undefined, name: string): boolean {
  return commandOf(schema, name) !== undefined;
}

/** What the model says of the arguments of a command. */
export function argumentsOf(schema: ModelSchema | undefined, name: string): Record<string, JsonSchema> {
  return commandOf(schema, name)?.requestBody.content["application/json"].schema.properties ?? {};
}
