// Asks for the token where the address did not bring one.

import { Component, html } from "../html.js";

export class SignIn extends Component {
  state = { token: "" };

  #submit = (event) => {
    event.preventDefault();
    const token = this.state.token.trim();
    if (token) this.props.onToken(token);
  };

  render({ why }, { token }) {
    return html`<main class="sign-in">
      <h1>Backstop</h1>
      <p role="alert">${why}</p>
      <p>Open the address that <code>backstop run</code> printed, or paste the token:
        it is in <code>BACKSTOP_API_TOKEN</code>, or in the file <code>api_token</code> of the state
        folder.</p>
      <form onSubmit=${this.#submit}>
        <label>Token
          <input id="token" type="password" autocomplete="off" spellcheck=${false} autofocus
            value=${token} onInput=${(event) => this.setState({ token: event.target.value })} />
        </label>
        <button type="submit">Show</button>
      </form>
      <p class="dim">It stays in this tab and is sent to this guard only.</p>
    </main>`;
  }
}
