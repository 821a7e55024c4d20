// One plot in a panel: uPlot draws it on a canvas in the colours of the theme, words say the same.

import { Component, createRef, html } from "../html.js";
import { Panel } from "./panel.js";

const HEIGHT = 170;

/** Return a colour of the style sheet as it is in the theme of now: a canvas knows no variables. */
export function colour(name) {
  const probe = document.getElementById("colour-probe");
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

/**
 * A plot that is drawn anew only when its data or the theme changed.
 *
 * Props: `id`, `title`, `aside`, `words` (what it shows, in a line), `version` (of the data),
 * `data()` and `options()` as uPlot takes them, and `readout(at)`, the point under the pointer in
 * words.
 */
export class Plot extends Component {
  state = { at: null };
  #place = createRef();
  #plot = null;
  #resized = null;
  #scheme = null;

  componentDidMount() {
    this.#draw();
    this.#resized = new ResizeObserver(() => {
      const width = this.#place.current.clientWidth;
      if (this.#plot && width) this.#plot.setSize({ width, height: HEIGHT });
    });
    this.#resized.observe(this.#place.current);
    this.#scheme = matchMedia("(prefers-color-scheme: dark)");
    this.#scheme.addEventListener("change", this.#redraw);
  }

  componentWillUnmount() {
    this.#resized.disconnect();
    this.#scheme.removeEventListener("change", this.#redraw);
    this.#plot?.destroy();
  }

  componentDidUpdate(before) {
    if (before.theme !== this.props.theme) this.#redraw();
    else if (before.version !== this.props.version) this.#plot?.setData(this.props.data());
    if (!this.#plot) this.#draw();
  }

  #redraw = () => {
    this.#plot?.destroy();
    this.#plot = null;
    this.#draw();
  };

  #draw() {
    const data = this.props.data();
    const width = this.#place.current.clientWidth;
    if (data[0].length === 0 || !width) return;
    const common = {
      width,
      height: HEIGHT,
      padding: [8, 26, 0, 0],
      cursor: { y: false, drag: { x: true, y: false } },
      legend: { show: false },
      hooks: { setCursor: [(plot) => this.setState({ at: plot.cursor.idx ?? null })] },
    };
    this.#plot = new uPlot({ ...common, ...this.props.options() }, data, this.#place.current);
  }

  render({ id, title, aside, words, readout }, { at }) {
    return html`<${Panel} id=${id} title=${title} aside=${aside}>
      <div class="plot" ref=${this.#place} role="img" aria-label=${words}></div>
      <p class="plot-words dim small">${(at !== null && readout(at)) || words}</p>
    <//>`;
  }
}

/** Return an axis in quiet colours. */
export function axis(more) {
  return {
    stroke: colour("--dim"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    ...more,
  };
}
