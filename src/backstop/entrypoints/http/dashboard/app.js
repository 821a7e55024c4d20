// The page: takes the token, watches the guard, and shows what it knows whenever that changes.

import { html, render } from "./html.js";
import { listenForKeys } from "./keys.js";
import { Store } from "./store.js";
import { chosenTheme, nextTheme } from "./theme_choice.js";
import { forgetToken, keepToken, takeToken } from "./token.js";
import { Actions } from "./views/actions.js";
import { Alerts } from "./views/alerts.js";
import { Banner } from "./views/banner.js";
import { Bots } from "./views/bots.js";
import { Feed } from "./views/feed.js";
import { Figures } from "./views/figures.js";
import { Audit, Health } from "./views/health.js";
import { HeatMap } from "./views/heat_map.js";
import { Headroom } from "./views/headroom.js";
import { Help } from "./views/help.js";
import { Liquidations } from "./views/liquidation.js";
import { Orders } from "./views/orders.js";
import { Equity, Slippage } from "./views/plots.js";
import { Positions } from "./views/positions.js";
import { SignIn } from "./views/sign_in.js";
import { Watch } from "./watch.js";

/** How often ages are counted on and silence is looked at. */
const TICK_MS = 250;

const store = new Store();
const place = document.getElementById("app");
let watch = null;
let helpOpen = false;
let drawing = false;
let failed = false;

function signIn(token) {
  keepToken(token);
  store.token = token;
  store.signedOut = "";
  watch = new Watch(store, token);
  watch.start();
  store.changed();
}

function signOutIfRefused() {
  if (store.token !== null || watch === null) return;
  watch.stop();
  watch = null;
  forgetToken();
}

// -- drawing -------------------------------------------------------------------------------------

function draw() {
  drawing = false;
  if (failed) return;
  document.title = title();
  document.body.toggleAttribute("data-stale", store.status !== null && store.stale);
  if (place.querySelector(".loading")) place.replaceChildren();
  render(html`<${Page} />`, place);
}

/** Draw once for all changes of one frame; without frames, in a hidden tab, the title at least. */
function drawSoon() {
  signOutIfRefused();
  if (document.hidden) document.title = title();
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

function title() {
  const { status } = store;
  if (!status) return "Backstop";
  if (store.stale && !document.hidden) return "DISCONNECTED · Backstop";
  const trouble = status.unknown_orders.length ? ` · ${status.unknown_orders.length} UNKNOWN` : "";
  return `${status.trading_state}${trouble} · Backstop ${status.account_id}`;
}

function setHelp(open) {
  helpOpen = open;
  drawSoon();
}

function changeTheme() {
  nextTheme();
  drawSoon();
}

/** A page that cannot draw any more would look as it did at its last drawing: fresh, and wrong. */
function fail() {
  failed = true;
  document.getElementById("failure").hidden = false;
  document.title = "FAILED · Backstop";
}

// -- views ---------------------------------------------------------------------------------------

function Page() {
  if (store.token === null) {
    return html`<${SignIn} why=${store.signedOut} onToken=${signIn} />`;
  }
  if (store.status === null) return html`<${Waiting} />`;
  const { status, stale } = store;
  const theme = chosenTheme();
  return html`
    <p class="spoken" aria-live="assertive">${stale ? "disconnected" : status.trading_state}</p>
    <header class="top">
      <${Banner} store=${store} stale=${stale} />
      <${Actions} store=${store} watch=${watch} stale=${stale} />
    </header>
    <main class="page" aria-busy=${String(stale)}>
      ${
        store.version !== status.version &&
        html`<p class="notice">The guard is another version now (${status.version}): reload this page.</p>`
      }
      <${Liquidations} store=${store} />
      <${Figures} status=${status} />
      <div class="columns">
        <div class="column wide">
          <${Positions} status=${status} />
          <${Orders} status=${status} />
          <div class="plots">
            <${Equity} store=${store} theme=${theme} />
            <${Slippage} store=${store} theme=${theme} />
          </div>
          <${Feed} store=${store} />
        </div>
        <div class="column">
          <${Alerts} store=${store} watch=${watch} />
          <${Headroom} store=${store} />
          <${HeatMap} correlations=${store.correlations} />
          <${Health} store=${store} stale=${stale} />
          <${Audit} store=${store} />
          <${Bots} status=${status} />
        </div>
      </div>
    </main>
    <footer class="foot">
      <span>Backstop ${status.version}, account ${status.account_id}</span>
      <button type="button" class="quiet" id="theme" onClick=${changeTheme}>theme: ${theme}</button>
      <button type="button" class="quiet" onClick=${() => setHelp(true)}>keys <kbd>?</kbd></button>
    </footer>
    <${Help} open=${helpOpen} onClose=${() => setHelp(false)} />
    <span id="colour-probe" hidden></span>
  `;
}

function Waiting() {
  return html`<main class="sign-in">
    <h1>Backstop</h1>
    <p role="status">Waiting for the first answer of the guard …</p>
  </main>`;
}

// -- the beginning -------------------------------------------------------------------------------

// What the browser itself remarks on (a size that changed while it was told of) is no failure of ours.
addEventListener("error", (event) => event.error && fail());
addEventListener("unhandledrejection", fail);
store.onChange(drawSoon);
listenForKeys(
  { theme: changeTheme, help: () => setHelp(true) },
  { signal: new AbortController().signal },
);
// A tab that comes to the front shows at once how old it is, before anybody reads a number in it.
document.addEventListener("visibilitychange", draw);
setInterval(drawSoon, TICK_MS);
// A new address of the guard in the same tab: another token.
addEventListener("hashchange", () => {
  if (location.hash.length > 1) location.reload();
});

const token = takeToken();
if (token) signIn(token);
else {
  store.signedOut = "No token came with this address.";
  draw();
}
