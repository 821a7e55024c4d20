// What is held, and what protects it.

import { html } from "../html.js";
import { duration, NOTHING, price } from "../numbers.js";
import { KNOWLEDGE, PROTECTION } from "../words.js";
import { Panel } from "./panel.js";

export function Positions({ status }) {
  const { positions, heartbeats } = status;
  const read = heartbeats.audit_age_ms;
  const aside = read === null ? "account not read yet" : `account read ${duration(read)} ago`;
  return html`<${Panel} id="positions" title="Positions" count=${positions.length} aside=${aside}>
    ${
      positions.length === 0
        ? html`<p class="empty">${read === null ? "Not known yet: the account was not read." : "No position."}</p>`
        : html`<table class="rows">
          <thead>
            <tr>
              <th scope="col">Position</th>
              <th scope="col" class="num">Average</th>
              <th scope="col" class="num">Stop</th>
              <th scope="col" class="num">Target</th>
              <th scope="col">Protection</th>
              <th scope="col" class="num">Naked</th>
              <th scope="col">Known</th>
            </tr>
          </thead>
          <tbody>
            ${positions.map((it) => html`<${Row} key=${it.contract_id} it=${it} />`)}
          </tbody>
        </table>`
    }
  <//>`;
}

function Row({ it }) {
  const side = it.quantity > 0 ? "LONG" : it.quantity < 0 ? "SHORT" : "FLAT?";
  return html`<tr class="position" data-protection=${it.protection} data-knowledge=${it.knowledge}>
    <th scope="row" data-label="Position">
      <span class="side" data-side=${side}>${side} ${Math.abs(it.quantity)}</span>
      ${" "}<span class="symbol">${it.symbol}</span>
    </th>
    <td class="num large" data-label="Average">${price(it.average_price)}</td>
    <td class="num large" data-label="Stop"><${Level} orders=${it.stops} quantity=${it.quantity} /></td>
    <td class="num large" data-label="Target"><${Level} orders=${it.targets} quantity=${it.quantity} /></td>
    <td data-label="Protection">
      <span class="badge" data-badge=${it.protection} title=${PROTECTION[it.protection]}>${it.protection}</span>
    </td>
    <td class="num" data-label="Naked" data-naked=${it.naked_ms ? "" : undefined}>
      ${it.naked_ms ? html`<strong>${duration(it.naked_ms)}</strong>` : "covered"}
      <span class="dim small longest"> longest ${duration(it.naked_ms_max)}</span>
    </td>
    <td data-label="Known">
      <span class="badge" data-badge=${it.knowledge} title=${KNOWLEDGE[it.knowledge]}>${it.knowledge}</span>
      ${it.in_question !== 0 && html`<span class="dim small"> ${Math.abs(it.in_question)} in question</span>`}
    </td>
  </tr>`;
}

/** The level that is hit first; "1/4": it covers one of four contracts, and others the rest. */
function Level({ orders, quantity }) {
  if (orders.length === 0) return html`<span class="none">${quantity ? "none" : NOTHING}</span>`;
  const [first] = orders;
  const held = Math.abs(quantity);
  const all = orders.map((it) => `${price(it.price)} for ${it.quantity}`).join(", ");
  return html`<span title=${all}>
    ${price(first.price)}
    ${first.quantity !== held && html`<span class="dim small"> ${first.quantity}/${held}</span>`}
  </span>`;
}
