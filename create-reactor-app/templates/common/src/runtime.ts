/** What the runtime answers over plain HTTP: its session and its model's schema. And who may ask: its token. */

export const RUNTIME_URL = (import.meta.env.VITE_REACTOR_URL || "http://localhost:8080").replace(/\/+$/, "");

const TOKEN_KEY = "reactor.token";
const token = takeToken();

// The SDK sends no token to a runtime that is spoken to directly, so each request that goes there gets it here.
if (token) {
  const plainFetch = window.fetch;
  const runtime = new URL(`${RUNTIME_URL}/`, location.href).href;
  window.fetch = (input, init) => {
    const request = new Request(input, init);
    if (request.url.startsWith(runtime)) request.headers.set("Authorization", `Bearer ${token}`);
    return plainFetch(request);
  };
}

/** An address of the runtime for a request that can carry no headers. */
export function addressOf(path: string): string {
  return RUNTIME_URL + path + (token ? `?token=${encodeURIComponent(token)}` : "");
}

/** The token comes once, as #token=… of the page's address, and is kept for the tab. */
function takeToken(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return recall() || import.meta.env.VITE_REACTOR_TOKEN || "";
  history.replaceState(null, "", location.pathname + location.search);
  try {
    sessionStorage.setItem(TOKEN_KEY, given);
  } catch {
    // Refused in some privacy modes; then it lasts as long as the page.
  }
  return given;
}

function recall(): string | null {
  try {
    return sessionStorage.getItem(TOKEN_KEY);
  } catch {
    return null;
  }
}

export type Session = {
  session_id: string;
  state: "created" | "ready" | "waiting" | "streaming" | "orphaned" | "closing" | "terminated";
};

/** The session as it is now, without joining it, or why it cannot be seen. */
export async function lookAtSession(): Promise<Session | "unreachable" | "locked"> {
  return get<Session>("/session").catch((error) =>
    error instanceof Refused && error.status === 401 ? "locked" : "unreachable",
  );
}

class Refused extends Error {
  status: number;

  constructor(path: string, status: number) {
    super(`${path} answered ${status}`);
    this.status = status;
  }
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
  items?: JsonSchema;
  maxItems?: number;
  examples?: unknown[];
  /** What the model's author says of the argument: words for an empty field, and which list takes keys held as well. */
  "x-placeholder"?: string;
  "x-also-held"?: boolean;
};

export type ModelSchema = {
  info: { title: string; version: string; description?: string };
  "x-reactor": {
    tracks: { name: string; kind: "video" | "audio"; direction: "in" | "out" }[];
    /** What to expect until the first picture. */
    first_frame?: string;
  };
  paths: Record<
    string,
    {
      post: {
        operationId: string;
        summary?: string;
        "x-hint"?: string;
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
  if (!response.ok) throw new Refused(path, response.status);
  return response.json();
}
