/** What is shown, how the connection is doing, and the way out. */

import { useStats } from "@reactor-team/js-sdk";
import type { ReactNode } from "react";

import type { Connection } from "./useConnection";

type Props = {
  name: string;
  connection: Connection;
  children?: ReactNode;
};

export function TopBar({ name, connection, children }: Props) {
  const fps = useStats()?.framesPerSecond;
  return (
    <header className="top-bar">
      <title>{name}</title>
      <h1>{name}</h1>
      <p className="status" data-live={connection.live} data-busy={connection.busy} role="status">
        {connection.status}
      </p>
      {/* Outside the status, so that a screen reader does not read it out every other second. */}
      {connection.live && fps !== undefined && <p className="fps">{Math.round(fps)} fps</p>}
      <div className="top-actions">
        {children}
        {(connection.live || connection.busy) && (
          <button className="button quiet" onClick={connection.leave}>
            Leave
          </button>
        )}
      </div>
    </header>
  );
}
