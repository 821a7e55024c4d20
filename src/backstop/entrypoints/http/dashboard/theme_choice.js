// Dark, light, or as the system has it.

const KEPT_AS = "backstop.theme";
const CHOICES = ["auto", "dark", "light"];

export function chosenTheme() {
  return document.documentElement.dataset.theme ?? "auto";
}

/** Go on to the next choice and remember it. */
export function nextTheme() {
  const next = CHOICES[(CHOICES.indexOf(chosenTheme()) + 1) % CHOICES.length];
  if (next === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem(KEPT_AS);
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem(KEPT_AS, next);
  }
}
