// What people were told and nobody has said to have read.

import { ask, refusal, UnansweredError, WISH_LIMIT_MS } from "../interface.js";
import { Component, html } from "../html.js";
import { clock } from "../numbers.js";
import { Panel } from "./panel.js";

const SHOWN = 20;

export class Alerts extends Component {
  state = { busy: null };

  async #acknowledge(id) {
    const { store, watch } = this.props;
    const operator = localStorage.getItem("backstop.operator")?.trim() || "dashboard";
    this.setState({ busy: id });
    try {
      const path = `/v1/alerts/${id}/ack?operator=${encodeURIComponent(operator)}`;
      const answer = await ask(store.token, "POST", path, { limitMs: WISH_LIMIT_MS });
      if (answer.status >= 300) store.say(false, `alert ${id}: ${refusal(answer)}`);
    } catch (error) {
      if (!(error instanceof UnansweredError)) throw error;
      store.say(false, `alert ${id}: the guard did not answer.`);
    } finally {
      this.setState({ busy: null });
      watch.hasten("alerts");
    }
  }

  render({ store }, { busy }) {
    const { alerts } = store;
    const open = (alerts?.alerts ?? []).filter((it) => it.acknowledged_by === null);
    return html`<${Panel} id="alerts" title="Alerts" count=${alerts?.open ?? 0}
      aside="reading one lifts nothing"
      tone=${open.some((it) => it.severity === "CRITICAL") ? "bad" : undefined}>
      ${
        open.length === 0
          ? html`<p class="empty">${alerts === null ? "Not read yet." : "Nothing that nobody has read."}</p>`
          : html`<ul class="alerts">
            ${open.slice(0, SHOWN).map(
              (it) => html`<li key=${it.id} class="alert" data-severity=${it.severity}>
                <p>
                  <strong>${it.code}</strong>
                  ${" "}<span class="dim">${it.severity} ${clock(it.raised_at)}${it.reminders ? `, reminded ${it.reminders}×` : ""}</span>
                </p>
                <p>${it.message}</p>
                <p class="dim small">What to do: ${it.runbook}</p>
                <button type="button" class="quiet" disabled=${busy === it.id}
                  onClick=${() => this.#acknowledge(it.id)}
                  aria-label=${`I have read alert ${it.id}, ${it.code}`}>read</button>
              </li>`,
            )}
          </ul>`
      }
    <//>`;
  }
}
