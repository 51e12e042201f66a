/** What this tab keeps to itself: the token, what shows that the model's author is here, and the seat. */

/** A token in front of the path, as SDKs are given it. */
const IN_PATH = /\/t\/([^/]+)\/$/;

/**
 * A secret comes once in the address (`#token=…`, a token also as `?token=…` or `/t/…/`), is kept for the tab, and
 * leaves the address bar: who copies that gives away no right of his own.
 * @param {"token" | "author"} name
 */
export function takeSecret(name) {
  const address = new URL(location.href);
  const hash = new URLSearchParams(address.hash.slice(1));
  let given = hash.get(name);
  if (name === "token") {
    const inPath = IN_PATH.exec(address.pathname)?.[1];
    given ??= address.searchParams.get(name) ?? (inPath === undefined ? null : decodeURIComponent(inPath));
    address.pathname = address.pathname.replace(IN_PATH, "/");
  }
  if (given === null) return recall(name);
  hash.delete(name);
  address.searchParams.delete(name);
  address.hash = hash.toString();
  history.replaceState(null, "", address);
  remember(name, given);
  return given;
}

// Storage is refused in some privacy modes; then a secret lives as long as the page.
/** @param {"token" | "author" | "seat"} name */
export function recall(name) {
  try {
    return sessionStorage.getItem(`reactor.${name}`) ?? "";
  } catch {
    return "";
  }
}

/**
 * @param {"token" | "author" | "seat"} name
 * @param {string} secret
 */
export function remember(name, secret) {
  try {
    sessionStorage.setItem(`reactor.${name}`, secret);
  } catch {
    // Nothing to do: see above.
  }
}
