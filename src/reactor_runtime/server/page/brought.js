/** What the page has with it when it comes, so that it need not ask. */

/**
 * The overview that came in the page itself, for the first question only; the server did not know then which session
 * this tab was in.
 * @param {string} visited
 * @returns {any}
 */
export function brought(visited) {
  const element = document.getElementById("overview");
  const text = element?.textContent;
  element?.remove();
  if (!text) return null;
  const told = JSON.parse(text);
  const isElsewhere = told.sessions.some((/** @type {import("./server.js").Descriptor} */ each) => each.session_id === visited);
  return isElsewhere && told.session.session_id !== visited ? null : told;
}
