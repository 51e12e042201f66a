/**
 * One connection to the runtime that keeps itself up, and says in words how it is doing.
 *
 * While it is wanted and there is none, it looks at the runtime every other second: a session that is still ours
 * is joined again, a free model is started, and what stands in the way is told.
 */

import { useReactor, useReactorInternalMessage } from "@reactor-team/js-sdk";
import { useEffect, useRef, useState } from "react";

import { addressOf, lookAtSession, RUNTIME_URL } from "./runtime";

const RETRY_MS = 2000;

type Notice = { title: string; detail: string };

export type Connection = {
  /** Commands can be sent. */
  live: boolean;
  /** One word or two for the status line. */
  status: string;
  /** What to tell in place of the picture; undefined while there should be one. */
  notice: Notice | undefined;
  /** Whether something is under way, rather than waiting for a person. */
  busy: boolean;
  start: () => void;
  leave: () => void;
};

const OBSTACLES = {
  unreachable: { title: "No answer from the runtime", detail: `Is “reactor run” serving at ${RUNTIME_URL}? Trying again.` },
  locked: {
    title: "The runtime wants a token",
    detail: "Open this page with #token=… at the end of its address: the token that the operator set.",
  },
  loading: { title: "The model is loading", detail: "It starts as soon as it is ready." },
  taken: { title: "Someone else is using the model", detail: "You are next when it is free." },
  failed: { title: "The connection failed", detail: "Trying again." },
} satisfies Record<string, Notice>;

const ENDINGS: Record<string, string> = {
  finished: "The model finished.",
  stopped: "The session was stopped.",
  moderated: "The session was stopped by a moderator.",
  timed_out: "Nobody was watching for a while.",
  "server stopped": "The runtime was shut down.",
};

export function useConnection(): Connection {
  const { status, sessionId, connect, reconnect, disconnect } = useReactor((state) => ({
    status: state.status,
    sessionId: state.sessionId,
    connect: state.connect,
    reconnect: state.reconnect,
    disconnect: state.disconnect,
  }));
  const [wanted, setWanted] = useState(true);
  const [obstacle, setObstacle] = useState<keyof typeof OBSTACLES>();
  const [ending, setEnding] = useState<string>();
  const [tries, setTries] = useState(0);
  const triedAt = useRef(-RETRY_MS);
  const lastWords = useRef("");

  useReactorInternalMessage((message: { type: string; data: { reason?: string; message?: string } }) => {
    if (message.type === "notice") lastWords.current = message.data.message ?? "";
    if (message.type === "sessionEnded") {
      setEnding(ENDINGS[message.data.reason ?? ""] ?? (lastWords.current || "The session ended."));
      setWanted(false);
      // Without this the SDK notices after some seconds only. Recoverable, so that it stops no other session.
      void disconnect(true);
    }
  });

  useEffect(() => {
    if (!wanted || status !== "disconnected") return;
    let current = true;
    const tryNow = async () => {
      triedAt.current = performance.now();
      const session = await lookAtSession();
      if (!current) return;
      if (typeof session === "string") {
        setObstacle(session);
        setTries((count) => count + 1);
        return;
      }
      const ours = session.session_id === sessionId;
      if (session.state === "created") setObstacle("loading");
      else if (!ours && session.state !== "ready") setObstacle("taken");
      else {
        setObstacle(undefined);
        // reconnect() reports its failure through the status alone, connect() throws besides.
        await (ours ? reconnect() : connect()).catch(() => setObstacle("failed"));
      }
      setTries((count) => count + 1);
    };
    const timer = setTimeout(tryNow, Math.max(0, triedAt.current + RETRY_MS - performance.now()));
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [wanted, status, sessionId, tries, connect, reconnect]);

  // A page that goes away gives the model back. A beacon outlives the page, which the SDK's own request may not.
  useEffect(() => {
    if (status === "disconnected" || sessionId === undefined) return;
    const giveBack = () => navigator.sendBeacon(addressOf("/stop_session"), JSON.stringify({ session_id: sessionId }));
    addEventListener("pagehide", giveBack);
    return () => removeEventListener("pagehide", giveBack);
  }, [status, sessionId]);

  return {
    live: wanted && status === "ready",
    ...words({ wanted, status, obstacle, ending, again: sessionId !== undefined }),
    start: () => {
      lastWords.current = "";
      setEnding(undefined);
      setWanted(true);
    },
    leave: () => {
      setWanted(false);
      // Without a connection there is nothing to stop, except somebody else's session.
      if (status !== "disconnected") void disconnect();
    },
  };
}

type Situation = {
  wanted: boolean;
  status: string;
  obstacle: keyof typeof OBSTACLES | undefined;
  ending: string | undefined;
  again: boolean;
};

function words({ wanted, status, obstacle, ending, again }: Situation): Pick<Connection, "status" | "notice" | "busy"> {
  if (!wanted) {
    const notice = ending
      ? { title: "The session ended", detail: ending }
      : { title: "You left", detail: "The model is free for somebody else." };
    return { status: ending ? "Ended" : "Not connected", notice, busy: false };
  }
  if (status === "ready") return { status: "Live", notice: undefined, busy: false };
  if (obstacle) return { status: "Waiting", notice: OBSTACLES[obstacle], busy: true };
  if (again && status !== "waiting") {
    return { status: "Reconnecting", notice: { title: "Connection lost", detail: "Reconnecting." }, busy: true };
  }
  return { status: "Connecting", notice: { title: "Connecting", detail: "This takes a moment." }, busy: true };
}
