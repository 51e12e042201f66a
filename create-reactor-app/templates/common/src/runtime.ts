/** What the runtime answers over plain HTTP: its session and its model's schema. */

export const RUNTIME_URL = (import.meta.env.VITE_REACTOR_URL || "http://localhost:8080").replace(/\/+$/, "");

export type Session = {
  session_id: string;
  state: "created" | "ready" | "waiting" | "streaming" | "orphaned" | "closing" | "terminated";
};

/** The session as it is now, without joining it; undefined when the runtime does not answer. */
export async function lookAtSession(): Promise<Session | undefined> {
  return get<Session>("/session").catch(() => undefined);
}

export type JsonSchema = {
  $ref?: string;
  type?: string;
  format?: string;
  description?: string;
  default?: unknown;
  enum?: (string | number)[];
  const?: string | number;
  anyOf?: JsonSchema[];
  allOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  contentEncoding?: string;
};

export type ModelSchema = {
  info: { title: string; version: string; description?: string };
  "x-reactor": { tracks: { name: string; kind: "video" | "audio"; direction: "in" | "out" }[] };
  paths: Record<
    string,
    {
      post: {
        operationId: string;
        summary?: string;
        requestBody: { content: { "application/json": { schema: JsonSchema } } };
      };
    }
  >;
  components: { schemas: Record<string, JsonSchema> };
};

export async function loadSchema(): Promise<ModelSchema> {
  return get<ModelSchema>("/schema");
}

async function get<T>(path: string): Promise<T> {
  const response = await fetch(RUNTIME_URL + path);
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}
