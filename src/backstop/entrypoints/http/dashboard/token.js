// The token of the guard: it comes in the part of the address behind "#", which no browser sends
// to a server, and is taken out of the address at once, so that it stays on no screen and gets into
// no bookmark. This tab alone remembers it, so that a reload goes on.

const KEPT_AS = "backstop.token";

/** Return the token of this tab, taking a new one out of the address; null: a person must give it. */
export function takeToken() {
  const given = fromFragment(location.hash);
  if (given) {
    history.replaceState(null, "", location.pathname + location.search);
    keepToken(given);
  }
  return given ?? sessionStorage.getItem(KEPT_AS);
}

/** Return the token in a fragment, written as `#token=TOKEN` or as `#TOKEN`; null without one. */
export function fromFragment(fragment) {
  const text = fragment.replace(/^#/, "");
  const given = /^(?:\w+=)?(.*)$/s.exec(text)[1];
  try {
    return decodeURIComponent(given) || null;
  } catch {
    return given || null;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(KEPT_AS, token);
}

export function forgetToken() {
  sessionStorage.removeItem(KEPT_AS);
}
