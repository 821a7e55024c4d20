// Templates without a build: htm reads them, Preact puts them on the page.
//
// Every value becomes a text node or an attribute, never markup. That is why no view escapes
// anything: what a venue or a bot says is shown as it is.

import htm from "./vendor/htm.module.js";
import { Component, createRef, h, render } from "./vendor/preact.mjs";

export const html = htm.bind(h);
export { Component, createRef, render };
