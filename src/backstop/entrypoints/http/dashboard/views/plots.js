// Equity and slippage over the piece of the past that the page holds.

import { html } from "../html.js";
import { dollars, grouped, NOTHING } from "../numbers.js";
import { axis, colour, Plot } from "./plot.js";

/** Times of day as people here write them; the date stands below the first one of a day. */
const TIMES = [
  [86_400, "{DD}.{MM}.", null, null, null, null, null, null, 1],
  [60, "{HH}:{mm}", null, null, "\n{DD}.{MM}.", null, null, null, 1],
  [0.001, "{HH}:{mm}:{ss}", null, null, "\n{DD}.{MM}.", null, null, null, 1],
];
const number = (text) => (text === null ? null : Number(text));

export function Equity({ store, theme }) {
  const past = store.history;
  const { account } = store.status;
  return html`<${Plot} id="equity" title="Equity" theme=${theme} version=${past.version}
    aside=${dollars(account.equity)}
    words=${`Equity ${dollars(account.equity)}, balance ${dollars(account.balance)}; ${past.worth.length} points.`}
    data=${() => [
      past.worth.map((it) => it.t),
      past.worth.map((it) => number(it.equity)),
      past.worth.map((it) => number(it.balance)),
    ]}
    options=${() => ({
      series: [
        { value: "{HH}:{mm}:{ss}" },
        line("equity", "--accent", 2, (at) => dollars(past.worth[at]?.equity)),
        line("balance", "--dim", 1, (at) => dollars(past.worth[at]?.balance)),
      ],
      scales: { y: { range: (_, least, most) => widened(least, most) } },
      axes: [axis({ values: TIMES }), axis({ size: 72, values: (_, ticks) => ticks.map(thousands) })],
    })} />`;
}

export function Slippage({ store, theme }) {
  const past = store.history;
  const { slippage } = past;
  const last = slippage.at(-1);
  const breaches = slippage.filter((it) => it.breach).length;
  const words = last
    ? `${slippage.length} executions, ${breaches} beyond the limit; the last: ${ticks(last.ticks)} ticks, ${last.side} ${last.symbol}.`
    : "No execution in the records that are shown.";
  return html`<${Plot} id="slippage" title="Slippage" theme=${theme} version=${past.version}
    aside="adverse ticks per order" words=${words}
    data=${() => [
      past.slippage.map((it) => it.t),
      past.slippage.map((it) => number(it.ticks)),
      past.slippage.map((it) => number(it.most)),
    ]}
    options=${() => ({
      series: [
        { value: "{HH}:{mm}:{ss}" },
        {
          label: "ticks",
          stroke: colour("--accent"),
          fill: colour("--accent"),
          paths: uPlot.paths.bars({ size: [0.3, 8] }),
          points: { show: true, size: 6, fill: colour("--accent") },
          value: (_plot, _value, _series, at) => told(past.slippage[at]),
        },
        line("limit", "--bad", 1, (at) => ticks(past.slippage[at]?.most)),
      ],
      scales: { y: { range: (_, least, most) => [Math.min(0, least) - 0.5, Math.max(1, most) + 0.5] } },
      axes: [axis({ values: TIMES }), axis({ size: 40 })],
    })} />`;
}

function line(label, name, width, text) {
  return {
    label,
    stroke: colour(name),
    width,
    spanGaps: true,
    paths: uPlot.paths.stepped({ align: 1 }),
    points: { show: false },
    value: (_plot, _value, _series, at) => (at === null ? NOTHING : text(at)),
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

/** Return an exact decimal text cut to what a person reads. */
function ticks(text) {
  return text ? text.replace(/(\.\d\d)\d+$/, "$1").replace("-", "−") : NOTHING;
}

function told(it) {
  return it ? `${ticks(it.ticks)} ${it.side} ${it.symbol}${it.breach ? " BREACH" : ""}` : NOTHING;
}
