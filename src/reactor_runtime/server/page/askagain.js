/**
 * What a network swallows is sent again by TCP after one second, then after two, then after four: where the network may
 * be back at any moment, that is late. So it is asked afresh meanwhile, and the first answer counts.
 */

/**
 * Ask every so often until something answers, whatever it says; questions that are still open then are given up.
 * Rejects with the first failure that is no silence, or with the last silence.
 * @template Answer
 * @param {(signal: AbortSignal) => Promise<Answer>} ask
 * @param {{everyMs: number, times: number, isSilence: (error: unknown) => boolean}} how
 * @returns {Promise<Answer>}
 */
export async function untilAnswered(ask, { everyMs, times, isSilence }) {
  const over = new AbortController();
  let [asked, silent] = [0, 0];
  try {
    return await new Promise((resolve, reject) => {
      const next = () => {
        if (over.signal.aborted) return;
        asked += 1;
        if (asked < times) setTimeout(next, everyMs);
        ask(over.signal).then(resolve, (error) => {
          silent += 1;
          if (!isSilence(error) || silent === times) reject(error);
        });
      };
      next();
    });
  } finally {
    over.abort();
  }
}
