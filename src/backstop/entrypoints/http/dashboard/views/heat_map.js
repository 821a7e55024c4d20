// How much the families move together, and how that is known.

import { html } from "../html.js";
import { duration, NOTHING } from "../numbers.js";
import { ORIGINS } from "../words.js";
import { Panel } from "./panel.js";

export function HeatMap({ correlations }) {
  const matrix = correlations?.matrix ?? {};
  const families = Object.keys(matrix);
  const entries = families.flatMap((it) => Object.values(matrix[it]));
  const ages = entries.map((it) => it.age_s).filter((it) => it !== null);
  const oldest = ages.length ? `oldest bar ${duration(Math.max(...ages) * 1_000)} ago` : "";
  return html`<${Panel} id="correlations" title="Correlation" aside=${oldest}>
    ${
      families.length === 0
        ? html`<p class="empty">Not estimated yet.</p>`
        : html`<div class="heat-scroll"><table class="heat">
          <thead>
            <tr>
              <td></td>
              ${families.map((it) => html`<th key=${it} scope="col">${it}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${families.map(
              (row) => html`<tr key=${row}>
                <th scope="row">${row}</th>
                ${families.map((column) => html`<${Cell} key=${column} entry=${matrix[row][column]} pair=${`${row} and ${column}`} />`)}
              </tr>`,
            )}
          </tbody>
        </table></div>`
    }
    ${
      entries.some((it) => it.origin !== "MEASURED") &&
      html`<p class="dim small">Hatched: not measured well enough. Such a pair counts as 1 and hedges nothing.</p>`
    }
  <//>`;
}

function Cell({ entry, pair }) {
  if (!entry) return html`<td class="heat-self">1</td>`;
  const { value, origin, age_s: age, aligned_bars: bars } = entry;
  const shown = value === null ? NOTHING : Number(value).toFixed(2).replace("-", "−");
  const words =
    `${pair}: ${value ?? "no value"}, ${ORIGINS[origin] ?? origin}, ${bars} bars` +
    (age === null ? "" : `, newest ${duration(age * 1_000)} ago`);
  return html`<td class="heat-cell" data-origin=${origin} data-sign=${Number(value) < 0 ? "-" : "+"}
    style=${{ "--heat": `${Math.round(Math.abs(Number(value ?? 0)) * 100)}%` }} title=${words}>
    <span aria-label=${words}>${shown}</span>
  </td>`;
}
