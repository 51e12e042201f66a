/** A link that counts no more keeps nobody out of where everybody may come in: that is offered. */

/** @param {import("./session.js").Session} session whose token was just refused */
export async function offerWithout(session) {
  const { server, rounds, view } = session;
  const round = rounds.now;
  const { ok } = await fetch(new URL("overview", server.base), { cache: "no-store" });
  if (!ok || round !== rounds.now) return;
  // What is entered here is another one, and whoever presses on, or loads the page again, comes with none.
  server.setToken("");
  session.show("locked", "This link does not count", view.detail, { canStart: true, startText: "Come in without it" });
}
