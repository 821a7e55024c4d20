// What the plots show: a bounded past of the account's balance and equity, and of slippage.

import { fromMicros } from "./numbers.js";

/** Some hours of an active account; older points make room. */
export const POINTS_MAX = 4_000;
/** An equity that does not change is noted so often all the same. */
const EQUITY_EVERY_S = 10;

export class History {
  constructor() {
    this.clear();
  }

  clear() {
    this.worth = []; // {t: seconds since 1970, balance, equity}: text or null
    this.slippage = []; // {t, ticks, most: text; breach, symbol, side, order}
    this.version = 0;
  }

  /** Take what one record of the journal says about the past. */
  addRecord(message) {
    const { payload } = message;
    const t = Date.parse(message.time) / 1_000;
    if (message.record === "proof") this.#addProof(t, payload?.proof);
    if (payload?.kind === "AccountReported") {
      const balance = fromMicros(payload.account.balance_micros);
      const before = this.worth.findLast((it) => it.t <= t);
      if (before?.balance !== balance) this.#note(this.worth, { t, balance, equity: null });
    }
  }

  /** Take the account as a status shows it; `t` is the guard's time. */
  addAccount(t, account) {
    const { equity } = account;
    if (equity === null) return;
    const before = this.worth.findLast((it) => it.equity !== null);
    if (before && before.equity === equity && t - before.t < EQUITY_EVERY_S) return;
    this.#note(this.worth, { t, balance: account.balance, equity });
  }

  #addProof(t, proof) {
    const slippage = proof?.slippage;
    if (!slippage?.ticks) return;
    const { symbol, side, client_order_id: order } = proof.order;
    const [ticks, most] = [slippage.ticks.decimal, slippage.max_ticks];
    // A fill that came later makes a new proof of the same order: it replaces the old one.
    this.slippage = this.slippage.filter((it) => it.order !== order);
    this.#note(this.slippage, { t, ticks, most, breach: slippage.breach, symbol, side, order });
  }

  /** Put a point in its place: the past is read while the present already comes in. */
  #note(series, point) {
    const after = series.findLastIndex((it) => it.t <= point.t);
    series.splice(after + 1, 0, point);
    if (series.length > POINTS_MAX) series.shift();
    this.version += 1;
  }
}
