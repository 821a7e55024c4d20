// Signs of life, how old each is, and the state of the audit record.

import { html } from "../html.js";
import { duration, grouped, NOTHING } from "../numbers.js";
import { Panel } from "./panel.js";

/** The watchdog itself gives a guard 2 s of silence before it looks. */
const PULSE_LATE_MS = 2_000;
/** The account is read every 5 s; twice that is late. */
const ACCOUNT_LATE_MS = 10_000;

export function Health({ store, stale }) {
  const { heartbeats, clock } = store.status;
  const { watchdog } = heartbeats;
  const faults = Object.entries(heartbeats.faults);
  return html`<${Panel} id="health" title="Heartbeats" aside=${store.stream.open ? "stream open" : "stream lost"}>
    <dl class="beats">
      <${Beat} name="last answer" good=${!stale} value=${`${duration(store.ageMs())} ago`} />
      <${Beat} name="guard" good=${(heartbeats.guard_pulse_age_ms ?? 0) < PULSE_LATE_MS}
        value=${heartbeats.guard_pulse_age_ms === null ? "not watched" : `${duration(heartbeats.guard_pulse_age_ms)} ago`} />
      <${Beat} name="watchdog" good=${!watchdog || (!watchdog.lost && (watchdog.age_ms ?? PULSE_LATE_MS) < PULSE_LATE_MS)}
        value=${watchdog ? watchdog.lost || `${duration(watchdog.age_ms)} ago` : "none"} />
      <${Beat} name="user hub" good=${heartbeats.user_hub_connected}
        value=${heartbeats.user_hub_connected ? `up ${duration(heartbeats.user_hub_connected_for_ms)}` : "LOST"} />
      <${Beat} name="market hub" good=${heartbeats.market_hub_connected}
        value=${heartbeats.market_hub_connected ? "up" : `LOST ${duration(heartbeats.market_hub_lost_for_ms)}`} />
      <${Beat} name="account read" good=${heartbeats.audit_age_ms !== null && heartbeats.audit_age_ms < ACCOUNT_LATE_MS}
        value=${heartbeats.audit_age_ms === null ? "never" : `${duration(heartbeats.audit_age_ms)} ago`} />
      <${Beat} name="venue clock" good=${!clock.blocks_entries}
        value=${clock.offset_ms === null ? "not known" : `${duration(Math.abs(clock.offset_ms))} ${clock.offset_ms < 0 ? "behind" : "ahead"}`} />
      <${Beat} name="longest stall" value=${duration(heartbeats.event_loop_stall_ms_max)} />
      <${Beat} name="guard restarts" good=${!watchdog?.guard_restarts} value=${watchdog?.guard_restarts ?? NOTHING} />
    </dl>
    ${faults.map(([component, fault]) => html`<p key=${component} class="fault">${component}: ${fault}</p>`)}
  <//>`;
}

/** One line; without `good` it is a fact that is neither well nor unwell. */
function Beat({ name, value, good }) {
  return html`<div class="beat" data-beat=${good === undefined ? "fact" : good ? "good" : "bad"}>
    <dt>${name}</dt>
    <dd class="num">${value}</dd>
  </div>`;
}

export function Audit({ store }) {
  const { checkpoint, stream, status } = store;
  const unsound = status.reasons.includes("RECORD_UNSOUND");
  const signed = checkpoint?.size ?? 0;
  const behind = Math.max(0, (stream.seq ?? 0) - signed);
  return html`<${Panel} id="audit" title="Audit" tone=${unsound ? "bad" : undefined}
    aside=${unsound ? "NOT SOUND" : checkpoint ? "signed" : "nothing yet"}>
    ${checkpoint === null
      ? html`<p class="empty">No checkpoint yet.</p>`
      : html`<dl class="beats">
          <${Beat} name="records signed" good=${!unsound} value=${grouped(String(signed))} />
          <${Beat} name="newer, not signed yet" value=${grouped(String(behind))} />
          <${Beat} name="root" value=${html`<code title=${checkpoint.root_hash}>${checkpoint.root_hash.slice(0, 12)}…</code>`} />
          <${Beat} name="key" value=${html`<code>${checkpoint.key_id.slice(0, 12)}</code>`} />
        </dl>`}
  <//>`;
}
