// The record of the guard as it grows, newest first, one line for each entry.

import { Component, html } from "../html.js";
import { clock } from "../numbers.js";
import { Panel } from "./panel.js";

const SHOWN = 150;

export class Feed extends Component {
  state = { all: false, open: null };

  render({ store }, { all, open }) {
    const shown = store.feed
      .filter((it) => all || !it.quiet)
      .slice(-SHOWN)
      .toReversed();
    const aside = html`<label class="check"><input type="checkbox" id="feed-all" checked=${all}
      onChange=${(event) => this.setState({ all: event.target.checked })} /> housekeeping too</label>`;
    return html`<${Panel} id="feed" title="Events" aside=${aside}>
      ${shown.length === 0 && html`<p class="empty">Nothing yet.</p>`}
      <ol class="feed">
        ${shown.map(
          (it) => html`<li key=${it.seq} class="event" data-level=${it.level}>
            <button type="button" class="event-line" aria-expanded=${String(open === it.seq)}
              onClick=${() => this.setState({ open: open === it.seq ? null : it.seq })}>
              <span class="event-time">${clock(it.time)}</span>
              <span class="event-text">${it.text}</span>
              <span class="event-seq dim">${it.seq}</span>
            </button>
            ${open === it.seq && html`<pre class="event-raw">${JSON.stringify(it.payload, null, 2)}</pre>`}
          </li>`,
        )}
      </ol>
    <//>`;
  }
}
