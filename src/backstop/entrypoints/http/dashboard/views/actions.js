// What a person may do here: stop new exposure, take the account flat, let trading go on.

import { ask, refusal, UnansweredError, WISH_LIMIT_MS } from "../interface.js";
import { Component, html } from "../html.js";
import { clock } from "../numbers.js";
import { HoldButton } from "./hold.js";

const OPERATOR_KEPT_AS = "backstop.operator";
const UNNAMED = "dashboard";
const REASONS = { halt: "halted on the dashboard", liquidate: "taken flat on the dashboard" };
/** As long as the interface takes them. */
const REASON_CHARACTERS_MAX = 500;
const OPERATOR_CHARACTERS_MAX = 64;
const OUTCOME_SHOWN_MS = 60_000;

export class Actions extends Component {
  state = {
    operator: localStorage.getItem(OPERATOR_KEPT_AS) ?? "",
    reason: "",
    symbol: "",
    busy: null,
    open: false,
  };

  #setOperator = (event) => {
    const operator = event.target.value;
    localStorage.setItem(OPERATOR_KEPT_AS, operator);
    this.setState({ operator });
  };

  /** Ask the guard for something, once, and say what came back. */
  async #wish(verb, body, said) {
    const { store, watch } = this.props;
    this.setState({ busy: verb });
    try {
      const answer = await ask(store.token, "POST", `/v1/${verb}`, {
        body,
        limitMs: WISH_LIMIT_MS,
      });
      if (answer.status < 300) {
        said(answer.body);
        this.setState({ reason: "", open: false });
      } else {
        store.say(false, `${verb}: ${refusal(answer)}`);
      }
    } catch (error) {
      if (!(error instanceof UnansweredError)) throw error;
      store.say(
        false,
        `${verb}: the guard did not answer, so it may have arrived or not. Asking again does no ` +
          "harm. On the guard's machine: backstop " +
          verb,
      );
    } finally {
      this.setState({ busy: null });
      watch.hasten("status");
    }
  }

  #halt = () => {
    const { store } = this.props;
    return this.#wish("halt", this.#signed("halt"), ({ trading_state: state }) =>
      store.say(true, `Halted: the guard is ${state}.`),
    );
  };

  #liquidate = () => {
    const { store } = this.props;
    const symbol = this.state.symbol || undefined;
    return this.#wish("liquidate", { ...this.#signed("liquidate"), symbol }, (run) => {
      store.takeLiquidation(run);
      store.say(run.sends, run.sends ? `Liquidation ${run.id} is on record.` : run.message);
    });
  };

  #resume = () => {
    const { store } = this.props;
    const { operator, reason } = this.state;
    return this.#wish("resume", { operator, reason }, ({ trading_state: state }) =>
      store.say(true, `Resumed: the guard is ${state}.`),
    );
  };

  /** A stop is never held up for want of a word: who gives none signs as the page. */
  #signed(verb) {
    const { operator, reason } = this.state;
    return { operator: operator.trim() || UNNAMED, reason: reason.trim() || REASONS[verb] };
  }

  render({ store, stale }) {
    const { operator, reason, symbol, busy, open } = this.state;
    const { status } = store;
    const latched = status.latches.length > 0;
    const named = operator.trim() && reason.trim();
    // What was chosen stays on offer: a wish for one contract must not become one for all.
    const held = new Set([...status.positions.map((it) => it.symbol), symbol].filter(Boolean));
    const dry = !status.gates.sends;
    return html`<section class="actions" aria-label="Halt, liquidate, resume" data-open=${open ? "" : undefined}>
      <div class="action-buttons">
        <${HoldButton} id="halt" label="HALT" tone="warn" note="hold to stop entries"
          busy=${busy === "halt"} onHeld=${this.#halt} />
        <${HoldButton} id="liquidate" label=${symbol ? `LIQUIDATE ${symbol}` : "LIQUIDATE"} tone="bad"
          note=${dry ? "dry run: sends nothing" : "hold to go flat"}
          busy=${busy === "liquidate"} onHeld=${this.#liquidate} />
        ${
          latched &&
          html`<${HoldButton} id="resume" label="RESUME" tone="good"
          note=${named ? "hold to let entries pass" : "takes name and reason"}
          busy=${busy === "resume"} locked=${!named} onHeld=${this.#resume} />`
        }
        <button type="button" class="quiet action-more" aria-expanded=${String(open)}
          aria-controls="action-words" onClick=${() => this.setState({ open: !open })}>
          ${open ? "less" : "name, reason"}
        </button>
      </div>
      <div class="action-words" id="action-words">
        <label>Name
          <input id="operator" name="operator" autocomplete="off" spellcheck=${false}
            maxlength=${OPERATOR_CHARACTERS_MAX} placeholder=${UNNAMED} value=${operator}
            onInput=${this.#setOperator} />
        </label>
        <label class="grows">Reason
          <input id="reason" name="reason" autocomplete="off" maxlength=${REASON_CHARACTERS_MAX}
            placeholder="goes on record" value=${reason}
            onInput=${(event) => this.setState({ reason: event.target.value })} />
        </label>
        <label>Liquidate
          <select id="scope" value=${symbol}
            onChange=${(event) => this.setState({ symbol: event.target.value })}>
            <option value="">account</option>
            ${[...held].map((it) => html`<option key=${it} value=${it}>${it}</option>`)}
          </select>
        </label>
      </div>
      ${stale && html`<p class="not-connected">Not connected: a wish may not arrive.</p>`}
      <${Outcome} outcome=${store.outcome} />
    </section>`;
  }
}

/** What came of the newest wish, while it is news. */
function Outcome({ outcome }) {
  const shown = outcome && Date.now() - outcome.wall < OUTCOME_SHOWN_MS;
  return html`<p class="outcome" role="status" data-good=${outcome?.good ? "" : undefined}>
    ${shown ? `${clock(outcome.wall)} ${outcome.text}` : ""}
  </p>`;
}
