// Keys for people who keep their hands on the keyboard. None acts by itself: what matters is held.

export const KEYS = [
  { key: "h", words: "to HALT; then hold Space", focus: "halt" },
  { key: "l", words: "to LIQUIDATE; then hold Space", focus: "liquidate" },
  { key: "r", words: "to RESUME, where something waits for a person", focus: "resume" },
  { key: "n", words: "to your name", focus: "operator" },
  { key: "w", words: "to the reason (why)", focus: "reason" },
  { key: "p", words: "to the positions", focus: "positions" },
  { key: "o", words: "to the orders", focus: "orders" },
  { key: "a", words: "to the alerts", focus: "alerts" },
  { key: "e", words: "to the events", focus: "feed" },
  { key: "t", words: "theme: as the system has it, dark, light", act: "theme" },
  { key: "?", words: "these keys", act: "help" },
  { key: "Esc", words: "out of a field or a dialog" },
];

/** Listen for keys; `acts` are what is not a move of the focus. */
export function listenForKeys(acts, { signal }) {
  addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const typing = event.target.closest?.("input, select, textarea");
      if (event.key === "Escape" && typing) event.target.blur();
      if (typing || document.querySelector("dialog[open]")) return;
      const meant = KEYS.find((it) => it.key === event.key);
      if (!meant || (!meant.focus && !meant.act)) return;
      event.preventDefault();
      if (meant.act) acts[meant.act]();
      const target = document.getElementById(meant.focus);
      target?.focus();
      target?.scrollIntoView({ block: "nearest" });
    },
    { signal },
  );
}
