// Signs of life, how old each is, and the state of the audit record.

import { html } from "../html.js";
import { duration, grouped, NOTHING } from "../numbers.js";
import { Panel } from "./panel.js";

/** The watchdog itself gives a guard 2 s of silence before it looks. */
const PULSE_LATE_MS = 2_000;
/** The account is read every 5 s; twice that is late. */
const ACCOUNT_LATE_MS = 10_000;

export function Health({ store, stale }) {
  const faults = Object.entries(store.status.heartbeats.faults);
  const aside = store.stream.open ? "stream open" : "stream lost";
  return html`<${Panel} id="health" title="Heartbeats" aside=${aside}>
    <dl class="beats">
      ${beats(store, stale).map((it) => html`<${Beat} key=${it.name} ...${it} />`)}
    </dl>
    ${faults.map(
      ([component, fault]) => html`<p key=${component} class="fault">${component}: ${fault}</p>`,
    )}
  <//>`;
}

function beats(store, stale) {
  const { heartbeats, clock } = store.status;
  const { guard_pulse_age_ms: pulseMs, audit_age_ms: readMs, watchdog } = heartbeats;
  const watchedMs = watchdog?.age_ms ?? PULSE_LATE_MS;
  return [
    { name: "last answer", good: !stale, value: ago(store.ageMs()) },
    {
      name: "guard",
      good: (pulseMs ?? 0) < PULSE_LATE_MS,
      value: pulseMs === null ? "not watched" : ago(pulseMs),
    },
    {
      name: "watchdog",
      good: !watchdog || (!watchdog.lost && watchedMs < PULSE_LATE_MS),
      value: watchdog ? watchdog.lost || ago(watchdog.age_ms) : "none",
    },
    {
      name: "user hub",
      good: heartbeats.user_hub_connected,
      value: heartbeats.user_hub_connected
        ? `up ${duration(heartbeats.user_hub_connected_for_ms)}`
        : "LOST",
    },
    {
      name: "market hub",
      good: heartbeats.market_hub_connected,
      value: heartbeats.market_hub_connected
        ? "up"
        : `LOST ${duration(heartbeats.market_hub_lost_for_ms)}`,
    },
    {
      name: "account read",
      good: readMs !== null && readMs < ACCOUNT_LATE_MS,
      value: readMs === null ? "never" : ago(readMs),
    },
    { name: "venue clock", good: !clock.blocks_entries, value: offset(clock) },
    { name: "longest stall", value: duration(heartbeats.event_loop_stall_ms_max) },
    {
      name: "guard restarts",
      good: !watchdog?.guard_restarts,
      value: watchdog?.guard_restarts ?? NOTHING,
    },
  ];
}

function ago(ms) {
  return ms === null ? NOTHING : `${duration(ms)} ago`;
}

/** How far the venue's clock is from ours; within what the answers leave open, it is not. */
function offset({ offset_ms: ms, uncertainty_ms: within_ms }) {
  if (ms === null) return "not known";
  const within = `± ${duration(within_ms)}`;
  if (Math.abs(ms) <= within_ms) return `agrees ${within}`;
  return `${duration(Math.abs(ms))} ${ms < 0 ? "behind" : "ahead"} ${within}`;
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
  const unread = status.reasons.includes("RECORD_UNREAD");
  const signed = checkpoint?.size ?? 0;
  const behind = Math.max(0, (stream.seq ?? 0) - signed);
  return html`<${Panel} id="audit" title="Audit" tone=${unsound ? "bad" : undefined}
    aside=${unsound ? "NOT SOUND" : unread ? "being looked through" : "signed"}>
    ${
      checkpoint === null
        ? html`<p class="empty">No checkpoint yet.</p>`
        : html`<dl class="beats">
          <${Beat} name="records signed" good=${!unsound} value=${grouped(String(signed))} />
          <${Beat} name="newer, not signed yet" value=${grouped(String(behind))} />
          <${Beat} name="root" value=${html`<code title=${checkpoint.root_hash}>${checkpoint.root_hash.slice(0, 12)}…</code>`} />
          <${Beat} name="key" value=${html`<code>${checkpoint.key_id.slice(0, 12)}</code>`} />
        </dl>`
    }
  <//>`;
}
