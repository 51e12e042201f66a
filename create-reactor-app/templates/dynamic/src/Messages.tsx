/** What the model says: replies to commands and announcements, the newest first. */

import { useReactorMessage } from "@reactor-team/js-sdk";
import { useRef, useState } from "react";

type Message = { id: number; type: string; data: unknown };

const KEPT = 20;

export function Messages() {
  const [messages, setMessages] = useState<Message[]>([]);
  const next = useRef(0);
  useReactorMessage(({ type, data }: { type: string; data: unknown }) => {
    const message = { id: next.current++, type, data };
    setMessages((before) => [message, ...before].slice(0, KEPT));
  });
  if (messages.length === 0) return null;
  return (
    <section className="messages" aria-label="Messages" aria-live="polite">
      <h2>Messages</h2>
      <ul>
        {messages.map(({ id, type, data }) => (
          <li key={id}>
            <b>{type}</b> <code>{JSON.stringify(data)}</code>
          </li>
        ))}
      </ul>
    </section>
  );
}
