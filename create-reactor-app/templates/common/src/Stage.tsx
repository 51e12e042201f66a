/** The picture, or in its place what is going on. */

import { ReactorView } from "@reactor-team/js-sdk";
import { type ReactNode, type SyntheticEvent, useState } from "react";

import type { Connection } from "./useConnection";

type Props = {
  connection: Connection;
  /** What to tell while the model has not shown anything yet. */
  waitingFor?: string;
  /** Shown over the picture. */
  children?: ReactNode;
};

export function Stage({ connection, waitingFor = "The first picture is on its way.", children }: Props) {
  const [ratio, setRatio] = useState<number>();
  const [shownFor, setShownFor] = useState(connection.live);
  if (shownFor !== connection.live) {
    setShownFor(connection.live);
    setRatio(undefined);
  }

  const measure = (event: SyntheticEvent) => {
    const { videoWidth, videoHeight } = event.target as HTMLVideoElement;
    if (videoWidth && videoHeight) setRatio(videoWidth / videoHeight);
  };

  const waiting = { title: "Waiting for the model", detail: waitingFor };
  const notice = connection.notice ?? (ratio ? undefined : waiting);
  return (
    <section className="stage" aria-label="Video" data-shown={!notice} style={{ "--ratio": ratio ?? 4 / 3 }}>
      <div className="frame">
        {connection.live && (
          // Media events do not bubble; they are caught on their way down. A time update may bring a new size.
          <div className="picture" onLoadedDataCapture={measure} onTimeUpdateCapture={measure}>
            <ReactorView style={{ width: "100%", height: "100%", background: "none" }} />
          </div>
        )}
        {!notice && children}
      </div>
      {notice && (
        <div className="notice" role="status">
          {(connection.busy || connection.live) && <span className="spinner" aria-hidden="true" />}
          <h2>{notice.title}</h2>
          <p>{notice.detail}</p>
          {!connection.busy && !connection.live && (
            <button className="button primary" onClick={connection.start} autoFocus>
              Connect
            </button>
          )}
        </div>
      )}
    </section>
  );
}
