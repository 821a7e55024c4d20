// Keeps the store up to date: readings at their own pace, hastened by what the record tells.
//
// Each reading is asked for one at a time and never queued, so a slow guard is asked less often.

import { ask, UnansweredError } from "./interface.js";
import { events } from "./event_stream.js";

const STATUS_MS = 1_000;
/** While something is being closed or a position is naked, a person counts along. */
const STATUS_URGENT_MS = 300;
/** However many records come in, the status is not asked more often than this. */
const HASTE_MS = 300;
/** A page that nobody sees asks when the stream gives a sign of life, or at least this often. */
const HIDDEN_MS = 30_000;
const RETRY_MS = 1_000;
/** Records of the past with which the feed and the plots begin. */
const PAST_RECORDS = 2_000;

const UNAUTHORISED = 401;
const CONFLICT = 409;

export class Watch {
  #ending = new AbortController();
  #readings;

  constructor(store, token) {
    this.store = store;
    this.token = token;
    this.#readings = {
      status: this.#reading("/v1/status", () => (this.#urgent() ? STATUS_URGENT_MS : STATUS_MS)),
      exposure: this.#reading("/v1/exposure", () => 2_000),
      alerts: this.#reading("/v1/alerts?limit=50", () => 5_000),
      checkpoint: this.#reading("/v1/audit/checkpoint", () => 5_000),
      correlations: this.#reading("/v1/correlations", () => 30_000),
    };
  }

  start() {
    for (const reading of Object.values(this.#readings)) void this.#keepReading(reading);
    void this.#keepListening();
    document.addEventListener("visibilitychange", this.#seen, { signal: this.#ending.signal });
    addEventListener("online", this.#seen, { signal: this.#ending.signal });
  }

  stop() {
    this.#ending.abort();
    for (const name of Object.keys(this.#readings)) this.hasten(name);
  }

  /** Read `name` at the next possible moment. */
  hasten(name) {
    const reading = this.#readings[name];
    reading.hastened = true;
    reading.resume();
  }

  get #ended() {
    return this.#ending.signal.aborted;
  }

  #seen = () => {
    if (!document.hidden) for (const name of Object.keys(this.#readings)) this.hasten(name);
  };

  #urgent() {
    const { status } = this.store;
    if (document.hidden || !status) return false;
    return status.liquidations.length > 0 || status.protection.naked.length > 0;
  }

  // -- readings ----------------------------------------------------------------------------------

  #reading(path, everyMs) {
    return { path, everyMs, hastened: false, resume: () => {} };
  }

  async #keepReading(reading) {
    while (!this.#ended) {
      const asked = { at: performance.now(), wall: Date.now() };
      reading.hastened = false;
      try {
        this.#take(reading, await ask(this.token, "GET", reading.path), asked);
        if (reading === this.#readings.status) await this.#askAboutEnds();
      } catch (error) {
        if (!(error instanceof UnansweredError)) throw error;
        // Nothing is concluded from silence; the figures on the page grow old, and that shows.
      }
      const spentMs = performance.now() - asked.at;
      const everyMs = document.hidden ? HIDDEN_MS : reading.everyMs();
      await this.#pause(reading, Math.max(HASTE_MS, everyMs - spentMs));
    }
  }

  #take(reading, { status, body, utcMs }, asked) {
    if (this.#ended) return;
    if (status === UNAUTHORISED) this.store.signOut("The guard does not accept this token.");
    if (status !== 200) return;
    const { store } = this;
    switch (reading) {
      case this.#readings.status:
        store.takeStatus(body, asked, utcMs);
        return;
      case this.#readings.exposure:
        store.exposure = body;
        break;
      case this.#readings.alerts:
        store.alerts = body;
        break;
      case this.#readings.correlations:
        store.correlations = body;
        break;
      default:
        store.checkpoint = body;
    }
    store.changed();
  }

  async #askAboutEnds() {
    for (const { id } of this.store.liquidationsToAsk()) {
      const answer = await ask(this.token, "GET", `/v1/liquidations/${encodeURIComponent(id)}`);
      if (answer.status === 200) this.store.takeLiquidation(answer.body);
      else this.store.dismissLiquidation(id);
      this.store.changed();
    }
  }

  /** Wait `ms`, or less when somebody hastens it; never less than bursts take to become one. */
  async #pause(reading, ms) {
    await sleep(HASTE_MS);
    if (reading.hastened) return;
    await new Promise((done) => {
      const timer = setTimeout(done, ms - HASTE_MS);
      reading.resume = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  // -- the stream --------------------------------------------------------------------------------

  async #keepListening() {
    const { store } = this;
    while (!this.#ended) {
      try {
        const where = await this.#whereToBegin();
        for await (const told of events(this.token, { ...where, signal: this.#ending.signal })) {
          store.stream = { open: true, seq: told.seq };
          if (told.message) this.#hear(told.message);
          else if (document.hidden) this.hasten("status");
        }
      } catch (error) {
        if (error.status === CONFLICT) store.stream.seq = null; // of another record: begin anew
        // Whatever broke: the guard, the line, or one event; it is asked for again where it broke.
      }
      store.stream = { ...store.stream, open: false };
      store.changed();
      await sleep(RETRY_MS);
    }
  }

  /** Resume after what was seen, or begin with a piece of the past; never with all of a long one. */
  async #whereToBegin() {
    const { store } = this;
    const newest = await ask(this.token, "GET", "/v1/audit/checkpoint");
    const size = newest.status === 200 ? newest.body.size : 0;
    const seen = store.stream.seq;
    if (seen !== null && size - seen <= PAST_RECORDS) return { after: seen };
    const from = Math.max(1, size - PAST_RECORDS + 1);
    store.forgetRecord({ cut: from > 1 });
    return { from };
  }

  #hear(message) {
    this.store.takeRecord(message);
    this.hasten("status");
    switch (message.payload?.kind) {
      case "RaiseAlert":
      case "AlertAcknowledged":
        this.hasten("alerts");
        break;
      case "RiskEstimated":
        this.hasten("correlations");
        break;
      case "OrderRequested":
      case "PositionReported":
        this.hasten("exposure");
        break;
    }
  }
}

function sleep(ms) {
  return new Promise((done) => setTimeout(done, ms));
}
