// Equity and slippage over the piece of the past that the page holds.

import { html } from "../html.js";
import { clock, dollars, grouped } from "../numbers.js";
import { axis, colour, Plot } from "./plot.js";

/** Times of day as people here write them; the date stands below the first one of a day. */
const TIMES = [
  [86_400, "{DD}.{MM}.", null, null, null, null, null, null, 1],
  [60, "{HH}:{mm}", null, null, "\n{DD}.{MM}.", null, null, null, 1],
  [0.001, "{HH}:{mm}:{ss}", null, null, "\n{DD}.{MM}.", null, null, null, 1],
];
/** Executions stand side by side, however long the pauses between them; few do not get wide. */
const PLACES_MIN = 12;

const timeOf = (it) => clock(it.t * 1_000);
const number = (text) => (text === null ? null : Number(text));

export function Equity({ store, theme }) {
  const past = store.history;
  const { account } = store.status;
  return html`<${Plot} id="equity" title="Equity" theme=${theme} version=${past.version}
    aside=${dollars(account.equity)}
    words=${`Equity ${dollars(account.equity)}, balance ${dollars(account.balance)}; ${past.worth.length} points.`}
    readout=${(at) => worthThen(past.worth[at])}
    data=${() => [
      past.worth.map((it) => it.t),
      past.worth.map((it) => number(it.balance)),
      past.worth.map((it) => number(it.equity)),
    ]}
    options=${() => ({
      series: [{}, line("--dim", 1), line("--accent", 2)],
      scales: { y: { range: (_, least, most) => widened(least, most) } },
      axes: [
        axis({ values: TIMES, space: 80 }),
        axis({ size: 72, values: (_, ticks) => ticks.map(thousands) }),
      ],
    })} />`;
}

function worthThen(it) {
  if (!it) return "";
  const equity = it.equity === null ? "" : `equity ${dollars(it.equity)}, `;
  return `${timeOf(it)}: ${equity}balance ${dollars(it.balance)}`;
}

export function Slippage({ store, theme }) {
  const past = store.history;
  const last = past.slippage.at(-1);
  const breaches = past.slippage.filter((it) => it.breach).length;
  const words = last
    ? `${past.slippage.length === 1 ? "1 execution" : `${past.slippage.length} executions`}, ${breaches} beyond the limit. The last: ${slipped(last)}.`
    : "No execution in the records that are shown.";
  return html`<${Plot} id="slippage" title="Slippage" theme=${theme} version=${past.version}
    aside="adverse ticks per order" words=${words}
    readout=${(at) => past.slippage[at] && `${timeOf(past.slippage[at])}: ${slipped(past.slippage[at])}`}
    data=${() => [
      past.slippage.map((_, at) => at),
      past.slippage.map((it) => number(it.ticks)),
      past.slippage.map((it) => number(it.most)),
    ]}
    options=${() => ({
      series: [
        {},
        {
          stroke: colour("--accent"),
          fill: colour("--accent"),
          paths: uPlot.paths.bars({ size: [0.3, 8] }),
          points: { show: true, size: 6, fill: colour("--accent") },
        },
        line("--bad", 1),
      ],
      scales: {
        x: { time: false, range: () => [-0.5, Math.max(past.slippage.length, PLACES_MIN) - 0.5] },
        y: { range: (_, least, most) => [Math.min(0, least) - 0.5, Math.max(1, most) + 0.5] },
      },
      axes: [
        axis({
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
          space: 70,
          values: (_, places) =>
            places.map((at) => (past.slippage[at] ? timeOf(past.slippage[at]) : "")),
        }),
        axis({ size: 40 }),
      ],
    })} />`;
}

/** Return one execution in words; its exact ticks are cut to what a person reads. */
function slipped({ ticks, side, symbol, breach, order }) {
  const cut = ticks.replace(/(\.\d\d)\d+$/, "$1").replace("-", "−");
  return `${cut} ${cut === "1" ? "tick" : "ticks"}, ${side} ${symbol}, ${order}${breach ? ", beyond the limit" : ""}`;
}

function line(name, width) {
  return {
    stroke: colour(name),
    width,
    spanGaps: true,
    paths: uPlot.paths.stepped({ align: 1 }),
    points: { show: false },
  };
}

/** Return a range that gives a line without movement some room, instead of a spike. */
function widened(least, most) {
  const room = Math.max((most - least) * 0.1, 25);
  return [least - room, most + room];
}

function thousands(value) {
  return `$${grouped(String(Math.round(value)))}`;
}
