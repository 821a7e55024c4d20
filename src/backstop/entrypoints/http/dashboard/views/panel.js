// A titled part of the page that the keyboard can be sent to.

import { html } from "../html.js";

export function Panel({ id, title, count, aside, tone, children }) {
  return html`<section class="panel" id=${id} tabindex="-1" aria-labelledby=${`${id}-title`} data-tone=${tone}>
    <header class="panel-head">
      <h2 id=${`${id}-title`}>${title}${count !== undefined && html` <span class="count">${count}</span>`}</h2>
      <div class="panel-aside">${aside}</div>
    </header>
    <div class="panel-body">${children}</div>
  </section>`;
}
