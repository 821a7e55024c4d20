// Everything the page knows, in one place; views read it and never change it.

import { History } from "./history.js";
import { inWords } from "./event_words.js";

/** After so long without an answer nothing on the page may look like the present. */
export const STALE_MS = 3_000;
/** Lines of the feed: a screenful many times over, and bounded on a page that is open for weeks. */
export const FEED_MAX = 400;
/** Finished liquidations that stay in sight until somebody has read them. */
const LIQUIDATIONS_MAX = 8;

export class Store {
  #listener = () => {};

  constructor() {
    this.token = null;
    this.signedOut = ""; // why a token is asked for
    this.status = null;
    this.answered = null; // {at, wall}: when the newest status was asked for
    this.exposure = null;
    this.correlations = null;
    this.alerts = null;
    this.checkpoint = null;
    this.stream = { open: false, seq: null };
    this.feed = [];
    this.feedCut = false;
    this.history = new History();
    this.liquidations = new Map();
    this.symbols = new Map();
    this.version = null; // of the guard that served this page
    this.outcome = null; // of the newest wish of a person: {good, text, wall}
  }

  onChange(listener) {
    this.#listener = listener;
  }

  changed() {
    this.#listener();
  }

  /** Stop showing anything: without a token, or with one that the guard does not know. */
  signOut(why) {
    this.token = null;
    this.signedOut = why;
    this.status = null;
    this.answered = null;
    this.changed();
  }

  /** Milliseconds since the moment that the figures are of; null before there are any. */
  ageMs() {
    if (!this.answered) return null;
    // The one clock stands still while a machine sleeps, the other may be set: the larger counts.
    return Math.max(performance.now() - this.answered.at, Date.now() - this.answered.wall);
  }

  get stale() {
    const age = this.ageMs();
    return age === null || age > STALE_MS;
  }

  /** Take a whole status; `asked` is when it was asked for, so that its age is never too small. */
  takeStatus(status, asked, utcMs) {
    this.answered = asked;
    this.status = status;
    this.version ??= status.version;
    for (const it of [...status.positions, ...status.working_orders, ...status.unknown_orders]) {
      this.symbols.set(it.contract_id, it.symbol);
    }
    for (const run of status.liquidations) this.takeLiquidation(run);
    this.history.addAccount(utcMs / 1_000, status.account);
    this.changed();
  }

  takeLiquidation(run) {
    this.liquidations.set(run.id, run);
    for (const [id, it] of this.liquidations) {
      if (this.liquidations.size <= LIQUIDATIONS_MAX) break;
      if (it.ended_at) this.liquidations.delete(id);
    }
  }

  /** Runs that were under way and are in the status no more: how they ended has to be asked. */
  liquidationsToAsk() {
    const running = new Set(this.status?.liquidations.map((it) => it.id));
    return [...this.liquidations.values()].filter((it) => !it.ended_at && !running.has(it.id));
  }

  dismissLiquidation(id) {
    this.liquidations.delete(id);
    this.changed();
  }

  takeRecord(message) {
    const { payload } = message;
    if (payload?.kind === "InstrumentsLoaded") {
      for (const it of payload.instruments) this.symbols.set(it.contract_id, it.symbol);
    }
    this.history.addRecord(message);
    const words = inWords(message, (contract) => this.symbols.get(contract) ?? contract);
    this.feed.push({ ...message, ...words });
    if (this.feed.length > FEED_MAX) this.feed.splice(0, this.feed.length - FEED_MAX);
    this.changed();
  }

  /** Begin the record anew: it is another one, or too much of it was missed. */
  forgetRecord({ cut }) {
    this.feed = [];
    this.feedCut = cut;
    this.history.clear();
  }

  /** Say what became of something that a person did. */
  say(good, text) {
    this.outcome = { good, text, wall: Date.now() };
    this.changed();
  }
}
