/**
 * How somebody stands among the others, in words: who drives, where one is in the line, how long yet, and what one
 * can do about it. Pure.
 *
 *   wheel, turn     what the server says of the seat        ┐
 *   ticket          what it says of one's place in the line ├─▶ standing() ─▶ a title, a line, what to press
 *   over            when one's own turn ended               ┘
 */

/** A turn that ends sooner is worth more than the small print. */
export const WARN_S = 15;
/** So long it is said that one's turn is over. */
export const OVER_MS = 10_000;

/**
 * @typedef {{id: number, name: string}} Person
 * @typedef {{you: "drive" | "watch", driver: Person | null, kept_s: number | null, may: string[], requests: Person[]}} Wheel
 * @typedef {{waiting: number, endsAtMs: number | null}} Turn `endsAtMs` of this page's clock
 * @typedef {{p50: number, p90: number} | null} Estimate
 * @typedef {{state: string, place: number, estimate_s: Estimate, reason: string, claimUntilMs: number | null}} Ticket
 * @typedef {{wheel: Wheel | null, turn: Turn, ticket: Ticket | null, overAtMs: number | null,
 *   mayDrive: boolean, hasLine: boolean}} Now
 * @typedef {{name: string, text: string, primary?: boolean, to?: number}} Act
 * @typedef {{tone: "calm" | "call" | "warn", title: string, detail: string, untilMs: number | null, acts: Act[]}} Standing
 *   `untilMs`: what it counts down to
 */

/**
 * What to show, or null where there is nothing to say.
 * @param {Now} now
 * @param {number} nowMs
 * @returns {Standing | null}
 */
export function standing(now, nowMs) {
  if (now.ticket?.state === "claim") return called(now.ticket);
  if (now.wheel?.you === "drive") return driving(now.wheel, now.turn, nowMs);
  if (now.ticket) return inLine(now.ticket, now);
  const isOver = now.overAtMs !== null && nowMs - now.overAtMs < OVER_MS;
  return watching(now, isOver);
}

/**
 * @param {Ticket} ticket
 * @returns {Standing}
 */
function called({ claimUntilMs }) {
  return {
    tone: "call",
    title: "It is your turn",
    detail: "Press Drive before the time is over, or the next one gets it.",
    untilMs: claimUntilMs,
    acts: [
      { name: "claim", text: "Drive", primary: true },
      { name: "unline", text: "Let it go" },
    ],
  };
}

/**
 * @param {Wheel} wheel
 * @param {Turn} turn
 * @param {number} nowMs
 * @returns {Standing | null}
 */
function driving({ requests }, turn, nowMs) {
  const [first, ...others] = requests;
  if (first) {
    return {
      tone: "calm",
      title: `${first.name} asks for the wheel`,
      detail: others.length > 0 ? `And ${count(others.length, "other")}.` : "You watch once you have given it.",
      untilMs: null,
      acts: [
        { name: "give", text: "Give it", primary: true, to: first.id },
        { name: "decline", text: "Not now", to: first.id },
      ],
    };
  }
  if (!isEnding(turn, nowMs)) return null;
  return { tone: "warn", title: "Your turn ends", detail: `${waitText(turn.waiting)}. You watch then.`, untilMs: turn.endsAtMs, acts: [] };
}

/**
 * @param {Ticket} ticket
 * @param {Now} now
 * @returns {Standing}
 */
function inLine({ place, estimate_s: estimate }, { wheel, turn }) {
  // Only whoever is next waits for the end of this turn.
  const untilMs = place === 1 ? turn.endsAtMs : null;
  const words = [estimateText(estimate), who(wheel)].filter(Boolean);
  return {
    tone: "calm",
    title: placeText(place),
    detail: words.join(" "),
    untilMs,
    acts: [{ name: "unline", text: "Leave the line" }],
  };
}

/**
 * @param {Now} now
 * @param {boolean} isOver whether one's turn has just ended
 * @returns {Standing | null}
 */
function watching({ wheel, turn, mayDrive, hasLine }, isOver) {
  if (!wheel) {
    if (!mayDrive || !hasLine) return null;
    const detail = turn.waiting > 0 ? `${waitText(turn.waiting)}.` : "Nobody else waits.";
    return { tone: "calm", title: "Wait for a turn?", detail, untilMs: null, acts: [lineAct] };
  }
  const may = new Set(wheel.may);
  if (may.has("take")) {
    const title = wheel.driver ? "You watch" : "Nobody drives";
    const detail = wheel.driver ? who(wheel) : "The wheel is free.";
    return { tone: "calm", title, detail, untilMs: null, acts: [{ name: "take", text: "Take the wheel", primary: true }] };
  }
  /** @type {Act[]} */
  const acts = [];
  if (mayDrive && hasLine) acts.push(isOver ? { ...lineAct, text: "Wait again" } : lineAct);
  if (may.has("request")) acts.push({ name: "request", text: "Ask for the wheel" });
  const hasAsked = mayDrive && wheel.driver !== null && !may.has("request");
  const rest = [who(wheel), hasAsked ? "You have asked for the wheel." : "", turn.waiting > 0 ? `${waitText(turn.waiting)}.` : ""];
  return {
    tone: "calm",
    title: isOver ? "Your turn is over" : "You watch",
    detail: rest.filter(Boolean).join(" "),
    untilMs: null,
    acts,
  };
}

/** @type {Act} */
const lineAct = { name: "line", text: "Wait for a turn", primary: true };

/**
 * Whether a turn is about to end.
 * @param {Turn} turn
 * @param {number} nowMs
 */
export function isEnding({ waiting, endsAtMs }, nowMs) {
  return waiting > 0 && endsAtMs !== null && endsAtMs - nowMs <= WARN_S * 1000;
}

/** @param {Wheel | null} wheel */
function who(wheel) {
  if (!wheel) return "";
  if (!wheel.driver) return "Nobody drives.";
  return wheel.kept_s === null ? `${wheel.driver.name} drives.` : `${wheel.driver.name} is away for a moment.`;
}

/** @param {number} waits */
export function waitText(waits) {
  return waits === 1 ? "1 waits" : `${waits} wait`;
}

/** @param {number} place */
export function placeText(place) {
  return place <= 1 ? "You are next" : `You are ${ordinal(place)} in line`;
}

/**
 * A band and not a figure: nobody knows how long others will drive.
 * @param {Estimate} estimate
 */
export function estimateText(estimate) {
  if (!estimate) return "";
  const [low, high] = [Math.round(estimate.p50 / 60), Math.ceil(estimate.p90 / 60)];
  if (estimate.p90 < 45) return "Less than a minute.";
  if (low < 1) return high <= 1 ? "About a minute." : `Up to ${high} minutes.`;
  if (low > 90) return "More than an hour.";
  return high <= low ? `About ${count(low, "minute")}.` : `About ${low} to ${high} minutes.`;
}

/**
 * "0:45": what is left until then.
 * @param {number} untilMs
 * @param {number} nowMs
 */
export function left(untilMs, nowMs) {
  const seconds = Math.max(0, Math.ceil((untilMs - nowMs) / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** @type {Record<string, string>} Why a place in the line is gone, by the server's code; "" where whoever had it knows. */
const GONE = {
  left: "",
  ended: "",
  turn_over: "",
  unheard: "Your place in the line is gone: nothing was heard of this page for a minute.",
  unclaimed: "It was your turn, and the time to take it is over. You can wait again.",
  line_closed: "The server gives no more turns for now.",
};

/** @param {string} [reason] */
export function goneText(reason = "") {
  return GONE[reason] ?? "Your place in the line is gone.";
}

/** @param {number} place */
function ordinal(place) {
  const ending = { one: "st", two: "nd", few: "rd", other: "th" };
  return `${place}${ending[/** @type {"one"} */ (new Intl.PluralRules("en", { type: "ordinal" }).select(place))]}`;
}

/**
 * @param {number} number
 * @param {string} noun
 */
function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
