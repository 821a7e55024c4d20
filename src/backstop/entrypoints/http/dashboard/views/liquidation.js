// Where a liquidation stands, step by step, until it is proven flat or a person is called.

import { html } from "../html.js";
import { clock, duration } from "../numbers.js";
import { STEPS } from "../words.js";

const REMAINING_SHOWN = 8;

export function Liquidations({ store }) {
  const runs = [...store.liquidations.values()].toReversed();
  return html`${runs.map((it) => html`<${Liquidation} key=${it.id} it=${it} store=${store} />`)}`;
}

function Liquidation({ it, store }) {
  const over = it.ended_at !== null;
  const what = it.latches ? "Liquidation" : "Close";
  const whole = it.symbol === null ? "of the account" : `of ${it.quantity ?? "all"} ${it.symbol}`;
  const state = it.sends ? it.state : "NOT SENT";
  return html`<section class="liquidation" data-state=${state} aria-label=${`${what} ${whole}`}>
    <header class="panel-head">
      <h2>${what} ${whole} <span class="badge" data-badge=${state}>${state}</span></h2>
      <div class="panel-aside">
        ${clock(it.begun_at)}${over ? `, over after ${duration(Date.parse(it.ended_at) - Date.parse(it.begun_at))}` : ""}
        ${
          (over || !it.sends) &&
          html` <button type="button" class="quiet" onClick=${() => store.dismissLiquidation(it.id)}>dismiss</button>`
        }
      </div>
    </header>
    ${it.sends && html`<${Steps} state=${it.state} />`}
    <p class="liquidation-message" role="status">${it.message}</p>
    <p class="dim">${it.requests.map((cause) => `${cause.reason} (${cause.operator})`).join("; ")}</p>
    ${
      it.remaining.length > 0 &&
      html`<ul class="remaining" aria-label="What is left">
      ${it.remaining.slice(0, REMAINING_SHOWN).map((left) => html`<li>${inWords(left)}</li>`)}
      ${it.remaining.length > REMAINING_SHOWN && html`<li>and ${it.remaining.length - REMAINING_SHOWN} more</li>`}
    </ul>`
    }
  </section>`;
}

function Steps({ state }) {
  const escalated = state === "ESCALATED";
  const at = state === "DONE" ? STEPS.length - 1 : STEPS.indexOf(state);
  return html`<ol class="steps">
    ${STEPS.map(
      (
        step,
        place,
      ) => html`<li key=${step} data-step=${stepOf(place, at)} aria-current=${place === at ? "step" : undefined}>
        ${step === "FLAT" && state === "DONE" ? "DONE" : step}
      </li>`,
    )}
    ${escalated && html`<li data-step="escalated" aria-current="step">ESCALATED: look at the account</li>`}
  </ol>`;
}

function stepOf(place, at) {
  if (at === STEPS.length - 1) return "done"; // proven flat, whatever the way there was
  return place < at ? "done" : place === at ? "now" : "ahead";
}

function inWords(left) {
  const order = left.client_order_id ?? left.broker_order_id ?? "";
  return left.side === null
    ? `${left.kind} ${left.quantity} ${left.symbol} ${left.status}`
    : `${left.kind} ${left.side} ${left.quantity} ${left.symbol} ${left.status} ${order}`;
}
