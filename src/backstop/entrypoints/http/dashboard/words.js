// The guard's codes in words. A code that is not here is shown as it is: it may be of a newer guard.

export const STATES = {
  STARTING: "Nothing is known of the account yet. Entries are refused.",
  RECOVERING: "The account is being read. Entries are refused until that is done.",
  ACTIVE: "Entries and exits pass.",
  REDUCING: "New entries are refused. Exits, stops and liquidation go on.",
  HALTED:
    "New entries are refused, resting ones are cancelled. Exits, stops and liquidation go on.",
};

const CONDITIONS = {
  USER_HUB_LOST: "The user hub is lost: fills and positions may come late.",
  MARKET_HUB_LOST: "The market hub is lost: there are no fresh prices.",
  ACCOUNT_STALE: "The account has not been read for too long.",
  ACCOUNT_CANNOT_TRADE: "The venue says that this account may not trade.",
  LOGIN_REFUSED: "The gateway refuses the key.",
  WATCHDOG_LOST: "No watchdog watches over the guard.",
  JOURNAL_FAILED: "The disk takes no records.",
  RECORD_UNREAD: "The audit record is still being looked through.",
  RECORD_UNSOUND: "A check of the audit record found something.",
  PAST_UNREADABLE: "The archive of past orders cannot be asked.",
  CLOCK_OFFSET: "Our clock and the venue's are too far apart.",
  LIMIT_BROKEN: "A limit of exposure lets through what it must refuse.",
  DAILY_LOSS_LOCK: "The loss of the day reached its limit.",
  FIRM_LIQUIDATED: "The firm closed positions by itself today.",
  STOP_MISSING: "A position lacks a stop that it should have.",
  COOL_DOWN: "Losing stops in a row: entries wait.",
  FILL_UNATTRIBUTED: "Nobody can say yet whose a fill is.",
};

export const LATCHES = {
  HALT: "Halted by a person or the kill file",
  LIQUIDATION: "Taken flat",
  EMERGENCY: "The guard cannot know what it has done",
  DRAWDOWN: "The account fell to its floor",
  EXTERNAL: "Somebody else trades the account",
  SLIPPAGE: "Too many executions slipped too far",
  CONTRADICTION: "The venue contradicted itself",
  UNPROTECTED: "A position has no stop",
};

export const PROTECTION = {
  PROTECTED: "working stops cover the position",
  NAKED: "the stops do not cover the position: repair, or close",
  UNPROTECTED: "no stop was asked for and no setting gives one",
  CLOSING: "the position is being taken flat",
};

export const KNOWLEDGE = {
  KNOWN: "fresh evidence of the venue",
  STALE: "not read or told for too long",
  UNKNOWN: "what the venue holds is not known",
};

export const LIMITS = {
  CORRELATION: "moving together",
  ES_NQ_COMBINED: "ES with NQ",
  DIRECTIONAL: "all",
  GROSS: "gross",
};

export const ORIGINS = {
  MEASURED: "measured",
  THIN: "too few bars",
  STALE: "too old",
  ZERO_VARIANCE: "did not move",
  MISSING: "never seen together",
};

/** The ways of a liquidation that are steps; ESCALATED interrupts any of them. */
export const STEPS = ["LATCHED", "CLOSING", "VERIFYING", "FLAT"];

/** Return a reason of the trading state in words. */
export function reason(text) {
  return CONDITIONS[text] ?? text.charAt(0).toUpperCase() + text.slice(1);
}

/** Return the name of a limit with what it is about. */
export function limitName({ limit, subject }) {
  const words = LIMITS[limit] ?? limit;
  if (limit === "ES_NQ_COMBINED" && subject === "NQ") return "NQ with ES";
  if (limit === "CORRELATION" && subject !== "ALL") return `moving with ${subject}`;
  if (limit === "DIRECTIONAL") return `${words} ${subject.toLowerCase()}s`;
  return words;
}
