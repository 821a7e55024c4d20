// A button for what nobody may do by accident: it acts after it was held for a while, and never at
// a click. Pointer, finger, Space and Enter hold it; letting go, leaving it or leaving the page
// ends that.

import { Component, html } from "../html.js";

export const HOLD_MS = 1_500;
const COUNTED_MS = 100;
// A page that stood still does not know whether it was let go of meanwhile: no more of that counts.
const COUNTED_MS_MAX = 2 * COUNTED_MS;
const KEYS = new Set([" ", "Enter"]);

export class HoldButton extends Component {
  state = { began: null, leftMs: HOLD_MS, early: false };

  componentWillUnmount() {
    this.#stop();
  }

  #timer = null;
  #countedAt = 0;
  #leftMs = HOLD_MS;
  #leaving = null;

  #begin() {
    if (this.state.began !== null || this.props.busy || this.props.locked) return;
    this.#leaving = new AbortController();
    const { signal } = this.#leaving;
    addEventListener("blur", this.#letGo, { signal });
    document.addEventListener("visibilitychange", this.#letGo, { signal });
    this.#timer = setInterval(this.#count, COUNTED_MS);
    this.#countedAt = performance.now();
    this.#leftMs = HOLD_MS;
    this.setState({ began: this.#countedAt, leftMs: HOLD_MS, early: false });
  }

  #count = () => {
    const now = performance.now();
    this.#leftMs -= Math.min(now - this.#countedAt, COUNTED_MS_MAX);
    this.#countedAt = now;
    if (this.#leftMs > 0) {
      this.setState({ leftMs: this.#leftMs });
      return;
    }
    this.#stop();
    this.setState({ began: null, leftMs: HOLD_MS });
    this.props.onHeld();
  };

  #letGo = () => {
    if (this.state.began === null) return;
    this.#stop();
    this.setState({ began: null, leftMs: HOLD_MS, early: true });
  };

  #stop() {
    clearInterval(this.#timer);
    this.#leaving?.abort();
  }

  #onPointerDown = (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    // A finger holds on to what it touched first, so sliding off would never be told.
    if (event.target.hasPointerCapture(event.pointerId)) {
      event.target.releasePointerCapture(event.pointerId);
    }
    this.#begin();
  };

  #onKeyDown = (event) => {
    if (!KEYS.has(event.key)) return;
    event.preventDefault();
    if (!event.repeat) this.#begin();
  };

  #onKeyUp = (event) => {
    if (KEYS.has(event.key)) this.#letGo();
  };

  render({ id, label, tone, busy, locked, note }) {
    const { began, leftMs, early } = this.state;
    const holding = began !== null;
    const seconds = (Math.max(0, leftMs) / 1_000).toFixed(1);
    return html`<button
      id=${id}
      type="button"
      class=${`hold hold-${tone}`}
      data-holding=${holding ? "" : undefined}
      aria-describedby=${`${id}-how`}
      aria-disabled=${busy || locked ? "true" : undefined}
      onPointerDown=${this.#onPointerDown}
      onPointerUp=${this.#letGo}
      onPointerLeave=${this.#letGo}
      onPointerCancel=${this.#letGo}
      onContextMenu=${(event) => event.preventDefault()}
      onKeyDown=${this.#onKeyDown}
      onKeyUp=${this.#onKeyUp}
      onBlur=${this.#letGo}
    >
      <span class="hold-fill" aria-hidden="true"></span>
      <span class="hold-label">${label}</span>
      <span class="hold-how" id=${`${id}-how`} aria-live=${holding ? "off" : "polite"}>
        ${busy ? "sending …" : holding ? `keep holding ${seconds} s` : early ? "let go too early" : note}
      </span>
    </button>`;
  }
}
