// The first thing to see: may orders leave, do entries pass, and if not, why.

import { html } from "../html.js";
import { clock, duration } from "../numbers.js";
import { LATCHES, reason, STATES } from "../words.js";

export function Banner({ store, stale }) {
  const { status } = store;
  if (stale) return html`<${Disconnected} store=${store} />`;
  const { trading_state: state, gates } = status;
  return html`<section class="banner" data-state=${state} aria-label="Trading state">
    <div class="banner-state">
      <h1 id="state">${state}</h1>
      <p class="gate" id="gate" data-sends=${gates.sends && gates.real ? "real" : undefined}>${gates.banner}</p>
    </div>
    <div class="banner-why">
      <p>${STATES[state] ?? ""}</p>
      <${Reasons} status=${status} />
    </div>
  </section>`;
}

/** Latches say who and since when; a reason that only repeats one of them is left out. */
function Reasons({ status }) {
  const ofLatches = new Set(
    status.latches.map(
      (it) => `${it.halts ? "halted" : "entries frozen"} by ${it.operator}: ${it.cause}`,
    ),
  );
  const others = status.reasons.filter((it) => !ofLatches.has(it));
  return html`<ul class="reasons" id="reasons">
    ${status.latches.map(
      (it) => html`<li key=${it.kind + it.contract_id + it.since} class="latch">
        <strong>${it.symbol ? `${it.symbol}: ` : ""}${LATCHES[it.kind] ?? it.kind}</strong>
        ${" "}${it.cause} <span class="dim">${it.operator}, ${clock(it.since)}</span>
      </li>`,
    )}
    ${others.map((it) => html`<li key=${it} title=${it}>${reason(it)}</li>`)}
    ${status.gates.warnings.map((it) => html`<li key=${it} class="warning">${it}</li>`)}
  </ul>`;
}

/** Nothing on the page is the present any more: say it larger than anything else. */
function Disconnected({ store }) {
  const age = store.ageMs();
  const of = store.answered && clock(store.answered.wall);
  return html`<section class="banner" data-state="DISCONNECTED" aria-label="Trading state">
    <div class="banner-state">
      <h1 id="state">DISCONNECTED</h1>
    </div>
    <div class="banner-why">
      <p>The guard ${age === null ? "does not answer" : `has not answered for ${duration(age)}`}. It may guard all the
        same, or not; stops stand at the venue. The page asks again by itself.</p>
      ${of && html`<p><strong>What is shown below was true at ${of}, and is not known to be true now.</strong></p>`}
    </div>
  </section>`;
}
