/** A link that counts no more keeps nobody out of where everybody may come in: that is offered. */

/**
 * @param {import("./session.js").Session} session
 * @param {string} text what is wrong with the link
 */
export async function offerWithout(session, text) {
  const round = session.rounds.now;
  const isOpen = await session.server.call("GET", "overview", { bare: true }).then(() => true, () => false);
  if (isOpen && round === session.rounds.now)
    session.show("locked", "This link does not count", text, { canStart: true, startText: "Come in without it" });
}
