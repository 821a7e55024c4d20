// The bots that registered, and whether they live.

import { html } from "../html.js";
import { duration } from "../numbers.js";
import { Panel } from "./panel.js";

export function Bots({ status }) {
  const { bots } = status.heartbeats;
  return html`<${Panel} id="bots" title="Bots" count=${bots.length}>
    ${
      bots.length === 0
        ? html`<p class="empty">No bot registered.</p>`
        : html`<dl class="beats">
          ${bots.map(
            (
              it,
            ) => html`<div key=${it.bot_id} class="beat" data-beat=${it.state === "ALIVE" ? "good" : "bad"}>
              <dt title=${it.policy}>${it.bot_id}</dt>
              <dd class="num">${it.state} ${it.heartbeat_age_ms === null ? "" : `${duration(it.heartbeat_age_ms)} ago`}</dd>
            </div>`,
          )}
        </dl>`
    }
  <//>`;
}
