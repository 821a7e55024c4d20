// The account in a line: what it is worth, what the day brought, what may still be lost.

import { html } from "../html.js";
import { dollars, duration, NOTHING, signOf } from "../numbers.js";

export function Figures({ status }) {
  const { account, unknown_orders: unknown, protection } = status;
  const naked = protection.naked.length;
  return html`<dl class="figures" aria-label="Account">
    <${Figure} name="Equity" value=${dollars(account.equity)}
      more=${`balance ${dollars(account.balance)}`} />
    <${Figure} name="Day" value=${dollars(account.day)} tone=${toneOf(account.day)}
      more=${`realised ${dollars(account.realised)}`} />
    <${Figure} name="Open" value=${dollars(account.open)} tone=${toneOf(account.open)}
      more=${account.unpriced.length ? `no price: ${account.unpriced.join(", ")}` : "at the last prices"} />
    <${Figure} name="Day may lose" value=${dollars(account.daily_loss_remaining)}
      more=${account.locked ?? (account.daily_loss_limit ? `of ${dollars(account.daily_loss_limit)}` : "no limit set")} />
    <${Figure} name="To the floor" value=${dollars(account.floor?.remaining)}
      more=${account.floor ? `floor ${dollars(account.floor.floor)}` : "no limit set"} />
    <${Figure} name="Naked" value=${naked} tone=${naked ? "bad" : "calm"}
      more=${naked ? protection.naked.map((it) => it.symbol).join(", ") : `longest ever ${duration(protection.naked_ms_max)}`} />
    <${Figure} name="Unknown orders" value=${unknown.length} tone=${unknown.length ? "bad" : "calm"}
      more=${unknown.length ? "may be working, filled or absent" : "every order is accounted for"} />
  </dl>`;
}

function Figure({ name, value, more, tone }) {
  return html`<div class="figure" data-tone=${tone}>
    <dt>${name}</dt>
    <dd class="figure-value">${value ?? NOTHING}</dd>
    <dd class="figure-more" title=${more}>${more}</dd>
  </div>`;
}

function toneOf(text) {
  const sign = signOf(text);
  return sign < 0 ? "down" : sign > 0 ? "up" : undefined;
}
