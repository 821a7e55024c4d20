// Calls to the guard's own interface, the one that every bot uses; nothing else is ever asked.

/** The guard did not answer in time, or not at all. What it did with the call is not known. */
export class UnansweredError extends Error {}

export const READ_LIMIT_MS = 2_500;
/** A wish is durable before it is answered, and a disk may be slow. */
export const WISH_LIMIT_MS = 10_000;

/**
 * Ask once and return `{status, body, utcMs}`; nothing is ever asked again by itself.
 *
 * @throws {UnansweredError} no answer, or one that is not JSON.
 */
export async function ask(token, method, path, { body, limitMs = READ_LIMIT_MS } = {}) {
  const headers = authorised(token);
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    const answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(limitMs),
    });
    // The guard's own time of day: records carry it too, and a phone's clock may be elsewhere.
    const utcMs = Date.parse(answer.headers.get("date")) || Date.now();
    return { status: answer.status, body: await answer.json(), utcMs };
  } catch (error) {
    throw new UnansweredError(`${method} ${path}: ${error.message}`);
  }
}

/** Return the reason in an answer that is a refusal, in the guard's own words. */
export function refusal({ status, body }) {
  const denials = body?.denials?.map((it) => it.message).join("; ");
  return body?.error?.message ?? denials ?? `HTTP ${status}`;
}

export function authorised(token) {
  return { authorization: `Bearer ${token}` };
}
