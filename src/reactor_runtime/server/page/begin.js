/**
 * What begins before the rest of the page is there: on a long line each file comes a round trip after what named it,
 * and the picture waits for none of them but this.
 *
 *   begin.js ─▶ the session is on its way ─▶ backlog ─▶ app.js, which shows it
 */

import { backlog } from "./backlog.js";
import { recall, remember } from "./secrets.js";
import { Server } from "./server.js";
import { Session } from "./session.js";

export const server = new Server();
/** @type {ReturnType<typeof backlog<import("./session.js").Told>>} */
const said = backlog(["onView", "onSchema", "onStream", "onMessage", "onConnected", "onLost"]);
export const session = new Session(server, said.told);
/** Hear what the session says, and what it said until now. */
export const hear = said.handOver;

// It is kept between two pages of this tab only: whoever duplicates the tab duplicates what is kept, and one drives.
server.seat = recall("seat");
remember("seat", "");
addEventListener("pagehide", () => remember("seat", server.seat));
addEventListener("pageshow", () => remember("seat", ""));

session.start();
