/** What is said before anybody is there to hear it, kept in order until somebody is. */

/**
 * @template {Record<string, (...args: any[]) => void>} Hearer
 * @param {(keyof Hearer & string)[]} names of what can be said
 * @returns {{told: Hearer, handOver: (hearer: Hearer) => void}} `told` takes it all, for `handOver`'s hearer
 */
export function backlog(names) {
  /** @type {[string, any[]][]} */
  const kept = [];
  /** @type {Hearer | null} */
  let hears = null;
  const told = Object.fromEntries(
    names.map((name) => [name, (/** @type {any[]} */ ...args) => (hears ? hears[name](...args) : kept.push([name, args]))]),
  );
  return {
    told: /** @type {any} */ (told),
    handOver: (hearer) => {
      hears = hearer;
      for (const [name, args] of kept.splice(0)) hearer[name](...args);
    },
  };
}
