// The record as it grows: server-sent events, read with fetch because EventSource can send no
// token. A reader that was cut off says what it saw last, and misses nothing.

import { authorised } from "./interface.js";

/** The guard says something every 5 s, if only that it lives; a longer silence is a dead line. */
const SILENCE_LIMIT_MS = 12_000;
/** No single record is nearly as large; what never ends is not ours. */
const EVENT_CHARACTERS_MAX = 4_000_000;

/**
 * Yield `{seq, message}` until the stream ends: `message` is the parsed data, or null for a sign of
 * life alone, and `seq` is where to resume.
 *
 * @throws {Error} the stream was refused (`status` says how) or broke.
 */
export async function* events(token, { after = null, from = null, signal }) {
  const headers = authorised(token);
  if (after !== null) headers["last-event-id"] = String(after);
  const query = after === null && from !== null ? `?from=${from}` : "";
  const silence = new AbortController();
  let limit = setTimeout(() => silence.abort(), SILENCE_LIMIT_MS);
  try {
    const answer = await fetch(`/v1/events${query}`, {
      headers,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.any([signal, silence.signal]),
    });
    if (!answer.ok) throw Object.assign(new Error("refused"), { status: answer.status });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let seq = after;
    let unread = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(limit);
      limit = setTimeout(() => silence.abort(), SILENCE_LIMIT_MS);
      const blocks = (unread + value).split("\n\n");
      unread = blocks.pop();
      if (unread.length > EVENT_CHARACTERS_MAX) throw new Error("an event without an end");
      for (const block of blocks) {
        const told = parsed(block);
        seq = told.id ?? seq;
        yield { seq, message: told.data === null ? null : JSON.parse(told.data) };
      }
    }
  } finally {
    clearTimeout(limit);
    silence.abort();
  }
}

/** Return the id and the data of one block of lines; lines of data belong together. */
export function parsed(block) {
  const data = [];
  let id = null;
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "id") id = Number(value);
    if (field === "data") data.push(value);
  }
  return { id, data: data.length ? data.join("\n") : null };
}
