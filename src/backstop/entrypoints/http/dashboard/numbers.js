// Numbers for people. Prices and money arrive as exact decimal text and stay text: they are cut
// into groups, never converted. Only lengths of bars and places in plots are floats.

export const NOTHING = "–";
const MINUS = "−";

/** Return decimal text with groups of three: "-1234567.50" becomes "−1,234,567.50". */
export function grouped(text) {
  if (text === null || text === undefined || text === "") return NOTHING;
  const [, sign, whole, rest] = /^(-?)(\d*)(.*)$/s.exec(String(text));
  return (sign && MINUS) + whole.replace(/\B(?=(\d{3})+$)/g, ",") + rest;
}

/** Return a price with two decimals or more: the same width from row to row, the same value. */
export function price(text) {
  if (!text) return NOTHING;
  const [whole, after = ""] = grouped(text).split(".");
  return `${whole}.${after.padEnd(2, "0")}`;
}

/** Return dollars, the sign in front: "-12.5" becomes "−$12.50". */
export function dollars(text) {
  if (text === null || text === undefined) return NOTHING;
  const [, sign, whole, cents = ""] = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text) ?? [];
  if (whole === undefined) return String(text);
  return `${sign && MINUS}$${grouped(whole)}.${cents.padEnd(2, "0")}`;
}

/** Return dollars without cents, for places where there is no room for them; cut, never rounded. */
export function wholeDollars(text) {
  return dollars(text).replace(/\.\d*$/, "");
}

/** Return millionths of a dollar as exact dollar text, without zeros that say nothing. */
export function fromMicros(micros) {
  const amount = BigInt(micros);
  const digits = String(amount < 0n ? -amount : amount).padStart(7, "0");
  const parts = digits.slice(-6).replace(/0+$/, "");
  return `${amount < 0n ? "-" : ""}${digits.slice(0, -6)}${parts && "."}${parts}`;
}

/** Return -1, 0 or 1: which side of zero decimal text is on. */
export function signOf(text) {
  if (!text || !/[1-9]/.test(text)) return 0;
  return String(text).startsWith("-") ? -1 : 1;
}

/** Return a - b of two exact decimal texts. */
export function minus(a, b) {
  const places = Math.max(...[a, b].map((it) => it.split(".")[1]?.length ?? 0));
  const whole = (text) => {
    const [before, after = ""] = text.split(".");
    return BigInt(before + after.padEnd(places, "0"));
  };
  const difference = whole(a) - whole(b);
  const digits = String(difference < 0n ? -difference : difference).padStart(places + 1, "0");
  const cut = digits.length - places;
  const sign = difference < 0n ? "-" : "";
  return sign + digits.slice(0, cut) + (places ? `.${digits.slice(cut)}` : "");
}

/** Return how much of `whole` a part is, from 0 to 1: the length of a bar. */
export function share(part, whole) {
  const ratio = Math.abs(Number(part)) / Math.abs(Number(whole));
  return Number.isFinite(ratio) ? Math.min(1, ratio) : 1;
}

/** Return a length of time in the two largest units that say enough. */
export function duration(ms) {
  if (ms === null || ms === undefined) return NOTHING;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const DAY = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short" });

/** Return a moment as time of day here, with the day where it is another one. */
export function clock(moment) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return NOTHING;
  const time = CLOCK.format(date);
  return date.toDateString() === new Date().toDateString() ? time : `${DAY.format(date)} ${time}`;
}
