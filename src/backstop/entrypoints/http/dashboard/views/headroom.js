// How much of every limit is used, the fullest first.

import { html } from "../html.js";
import { dollars, minus, share, wholeDollars } from "../numbers.js";
import { limitName } from "../words.js";
import { Panel } from "./panel.js";

/** From here on a bar warns: what is left may be less than one more contract. */
const NEARLY_FULL = 0.8;

export function Headroom({ store }) {
  const { exposure, status } = store;
  const rows = [...accountLimits(status.account), ...exposureLimits(exposure)];
  const off = exposure !== null && !exposure.enforced;
  return html`<${Panel} id="headroom" title="Risk headroom"
    aside=${exposure?.unpriced.length ? `no price: ${exposure.unpriced.join(", ")}` : "used of limit"}
    tone=${rows.some((it) => it.broken) ? "bad" : undefined}>
    ${off && html`<p class="empty">Correlation protection is off: exposure is not limited.</p>`}
    <ul class="bars">
      ${rows.map((it) => html`<${Bar} key=${it.name} it=${it} />`)}
    </ul>
  <//>`;
}

function Bar({ it }) {
  const used = share(it.value, it.allowed);
  const tone = it.broken ? "bad" : used >= NEARLY_FULL ? "warn" : "calm";
  const words = `${it.name}: ${it.show(it.value)} of ${it.show(it.allowed)}, left ${it.show(it.left)}`;
  return html`<li class="bar" data-tone=${tone} title=${words}>
    <span class="bar-name">${it.name}</span>
    <span class="bar-of num dim">${it.show(it.value)} / ${it.show(it.allowed)}</span>
    <span class="bar-track" role="meter" aria-label=${words} aria-valuemin="0" aria-valuemax="100"
      aria-valuenow=${Math.round(used * 100)}>
      <span class="bar-fill" style=${{ width: `${used * 100}%` }}></span>
    </span>
    <span class="bar-left num">${it.show(it.left)} left</span>
  </li>`;
}

function exposureLimits(exposure) {
  const rows = (exposure?.limits ?? []).map((it) => ({
    name: limitName(it),
    value: it.value,
    allowed: it.allowed,
    left: it.headroom,
    broken: it.breached,
    show: wholeDollars,
  }));
  return rows.sort((a, b) => share(b.value, b.allowed) - share(a.value, a.allowed));
}

/** The account's own limits; what is used of them follows from what is left. */
function accountLimits(account) {
  const rows = [];
  if (account.daily_loss_limit !== null) {
    rows.push(loss("day's loss", account.daily_loss_limit, account.daily_loss_remaining));
  }
  if (account.trailing_loss_limit !== null) {
    rows.push(
      loss("loss to the floor", account.trailing_loss_limit, account.floor?.remaining ?? null),
    );
  }
  if (account.max_position !== null) {
    const left = minus(account.max_position, account.position);
    rows.push({
      name: "position",
      value: account.position,
      allowed: account.max_position,
      left,
      broken: left.startsWith("-"),
      show: (text) => `${text} minis`,
    });
  }
  return rows;
}

function loss(name, allowed, left) {
  const used = left === null ? allowed : minus(allowed, left);
  const broken = left === null || left.startsWith("-");
  return { name, value: used.startsWith("-") ? "0" : used, allowed, left, broken, show: dollars };
}
