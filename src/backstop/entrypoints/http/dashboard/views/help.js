// What the keys do, in a dialog of the browser's own: it keeps the focus and gives it back.

import { Component, createRef, html } from "../html.js";
import { KEYS } from "../keys.js";

export class Help extends Component {
  #dialog = createRef();

  componentDidUpdate() {
    const dialog = this.#dialog.current;
    if (this.props.open && !dialog.open) dialog.showModal();
    if (!this.props.open && dialog.open) dialog.close();
  }

  render({ onClose }) {
    return html`<dialog ref=${this.#dialog} class="help" aria-labelledby="help-title" onClose=${onClose}>
      <h2 id="help-title">Keys</h2>
      <dl class="keys">
        ${KEYS.map((it) => html`<div key=${it.key}><dt><kbd>${it.key}</kbd></dt><dd>${it.words}</dd></div>`)}
      </dl>
      <p class="dim">HALT, LIQUIDATE and RESUME act after they were held for 1.5 s, with the pointer, a
        finger, Space or Enter. Letting go sooner does nothing.</p>
      <form method="dialog"><button class="quiet">close</button></form>
    </dialog>`;
  }
}
