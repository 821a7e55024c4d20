// Orders that can still fill: first those of which nobody knows whether they do.

import { html } from "../html.js";
import { clock, NOTHING, price } from "../numbers.js";
import { Panel } from "./panel.js";

const ROLES = {
  ENTRY_OR_EXIT: "order",
  STOP_LOSS: "stop",
  TAKE_PROFIT: "target",
  FOREIGN: "foreign",
};

export function Orders({ status }) {
  const { working_orders: working, unknown_orders: unknown } = status;
  return html`<${Panel} id="orders" title="Orders" count=${working.length + unknown.length}
    aside=${unknown.length ? `${unknown.length} UNKNOWN` : "working at the venue"}>
    ${unknown.map((it) => html`<${Unknown} key=${it.client_order_id} it=${it} />`)}
    ${
      working.length === 0
        ? html`<p class="empty">No working order.</p>`
        : html`<table class="rows compact">
          <thead>
            <tr>
              <th scope="col">Order</th>
              <th scope="col">Role</th>
              <th scope="col">Type</th>
              <th scope="col" class="num">Price</th>
              <th scope="col" class="num">Filled</th>
              <th scope="col">Status</th>
              <th scope="col">Id</th>
            </tr>
          </thead>
          <tbody>
            ${working.map((it) => html`<${Row} key=${it.broker_order_id} it=${it} />`)}
          </tbody>
        </table>`
    }
  <//>`;
}

function Unknown({ it }) {
  const since = it.transitions.findLast((step) => step.to === "UNKNOWN")?.time;
  return html`<div class="unknown" role="alert">
    <p class="unknown-what">
      <span class="badge" data-badge="UNKNOWN">UNKNOWN</span>
      ${" "}<strong>${it.side} ${it.quantity} ${it.symbol}</strong>
      ${" "}${it.type} ${price(it.limit_price ?? it.stop_price)}
      ${" "}<span class="dim">${it.client_order_id}</span>
    </p>
    <p>No answer${since ? ` since ${clock(since)}` : ""}: it may be working, filled or absent. It is
      being looked for; do not send it again.${it.venue_message ? ` Known so far: ${it.venue_message}` : ""}</p>
  </div>`;
}

function Row({ it }) {
  const foreign = it.role === "FOREIGN";
  return html`<tr data-role=${it.role}>
    <th scope="row" data-label="Order">
      <span class="side" data-side=${it.side}>${it.side} ${it.quantity}</span>
      ${" "}<span class="symbol">${it.symbol}</span>
    </th>
    <td data-label="Role">
      ${foreign ? html`<span class="badge" data-badge="FOREIGN">FOREIGN</span>` : (ROLES[it.role] ?? it.role)}
    </td>
    <td data-label="Type">${it.type ?? "other"}</td>
    <td class="num" data-label="Price">${price(it.limit_price ?? it.stop_price)}</td>
    <td class="num" data-label="Filled">${it.filled_quantity}/${it.quantity}</td>
    <td data-label="Status">${it.status}</td>
    <td class="dim ids" data-label="Id" title=${it.tag ?? ""}>
      ${it.client_order_id ?? it.tag ?? NOTHING} · ${it.broker_order_id}
    </td>
  </tr>`;
}
