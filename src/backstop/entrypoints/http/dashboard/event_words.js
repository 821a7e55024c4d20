// One line for each record of the journal. Text of a venue or a bot stays text, whatever is in it.

import { fromMicros, dollars, duration } from "./numbers.js";

export const LEVELS = { BAD: "bad", WARN: "warn", GOOD: "good", PLAIN: "plain" };
const { BAD, WARN, GOOD, PLAIN } = LEVELS;

/** Records of the guard's own housekeeping: there every few seconds, and shown on request. */
const QUIET = new Set([
  "AccountAudited",
  "AccountHistoryRead",
  "AccountReported",
  "AuditAccount",
  "InstrumentsLoaded",
  "LookUpOrder",
  "MarketNoted",
  "OrderDispatched",
  "PastReadable",
  "PastRecalled",
  "PositionsPriced",
  "RecordFoundSound",
  "RiskEstimated",
  "SessionsScheduled",
  "StrategySaved",
  "TimerFired",
  "VenueClockRead",
]);

const because = (text) => (text ? `: ${text}` : "");
const named = (it) => (it.operator ? `${it.operator}${because(it.reason)}` : it.reason);
const at = (...prices) => prices.find((it) => it !== null && it !== undefined) ?? "market";

/** From the kind of a record to `[level, sentence]`; `symbol` turns a contract into its symbol. */
const SENTENCES = {
  GuardStarted: (it) => [PLAIN, `The guard started (${it.version}, after ${it.stop})`],
  GuardStoodStill: (it) => [WARN, `The guard stood still for ${duration(it.unguarded_ms)}`],
  JournalFailed: (it) => [BAD, `The disk takes no records${because(it.reason)}`],
  JournalRecovered: () => [GOOD, "The disk takes records again"],
  StateFileFailed: (it) => [WARN, `The state file cannot be written${because(it.reason)}`],
  LatchesHandedOver: (it) => [WARN, `Latches of the guard before that stand: ${it.latches.length}`],
  WatchAlertsHandedOver: (it) => [WARN, `The watchdog told: ${it.alerts.map((one) => one.code).join(", ")}`],
  EmergencyRunRecorded: (it) => [WARN, `A liquidation without a guard: ${it.facts} records`],
  RecordFoundUnsound: (it) => [BAD, `The audit record is not sound${because(it.finding)}`],
  AlertChannelUnreached: (it) => [
    WARN,
    `Alert channel ${it.channel} (${it.service}) cannot be reached${because(it.reason)}`,
  ],
  PastUnreadable: (it) => [BAD, `The archive of past orders cannot be asked${because(it.reason)}`],
  TradingDayBegan: (it) => [PLAIN, `Trading day ${it.trade_date} began`],
  LoginRefused: (it) => [BAD, `The gateway refuses the key${because(it.reason)}`],
  LoginAccepted: () => [GOOD, "The gateway accepts the key again"],
  WatchdogLost: (it) => [BAD, `The watchdog is lost${because(it.reason)}`],
  WatchdogReturned: () => [GOOD, "A watchdog watches again"],
  HubConnected: (it) => [GOOD, `${it.hub} hub connected`],
  HubLost: (it) => [WARN, `${it.hub} hub lost${because(it.reason)}`],
  SessionEvicted: (it) => [BAD, `Another session took ours${because(it.message)}`],
  PayloadRejected: (it) => [WARN, `A payload that breaks its schema: ${it.target}: ${it.fault}`],

  BotRegistered: (it) => [PLAIN, `Bot ${it.bot_id} registered`],
  BotSignedOff: (it) => [PLAIN, `Bot ${it.bot_id} signed off`],
  BotFellSilent: (it) => [WARN, `Bot ${it.bot_id} is silent for ${duration(it.silent_ms)}`],
  BotGivenUp: (it) => [BAD, `Bot ${it.bot_id} is given up`],
  StrategyFailed: (it) => [BAD, `Strategy ${it.strategy_id} failed: ${it.reason}`],
  BotReturned: (it) => [GOOD, `Bot ${it.bot_id} is back`],

  OrderRequested: ({ request: it }) => [PLAIN, `${wish(it)} asked for as ${it.client_order_id}`],
  OrderRegistered: ({ request: it }) => [PLAIN, `${wish(it)} registered as ${it.client_order_id}`],
  CancelRequested: (it) => [PLAIN, `Cancel of ${it.client_order_id} asked for`],
  ModifyRequested: (it) => [PLAIN, `Change of ${it.client_order_id} asked for`],
  LegChangeRequested: (it) => [
    PLAIN,
    `${it.ticks === null ? "Cancel" : "Move"} of leg ${it.broker_order_id} asked for`,
  ],
  CloseRequested: (it, symbol) => [
    WARN,
    `Close of ${it.quantity ?? "all"} ${symbol(it.contract_id)} by ${named(it)}`,
  ],
  ProtectionRequested: (it, symbol) => [PLAIN, `New levels for ${symbol(it.contract_id)}`],
  LiquidationRequested: (it, symbol) => [
    BAD,
    `LIQUIDATE ${it.contract_id ? symbol(it.contract_id) : "the account"} by ${named(it)}`,
  ],
  HaltRequested: (it) => [BAD, `HALT by ${named(it)}`],
  ResumeRequested: (it) => [GOOD, `RESUME by ${named(it)}`],
  LimitsChangeRequested: (it) => [WARN, `Limits changed${because(named(it))}`],
  AlertAcknowledged: (it) => [PLAIN, `Alert ${it.alert_id} read by ${it.operator}`],

  PlaceAnswered: (it) => answered("placed", it, it.client_order_id),
  CancelAnswered: (it) => answered("cancelled", it, it.broker_order_id),
  ModifyAnswered: (it) => answered("changed", it, it.broker_order_id),
  PositionCloseAnswered: (it, symbol) => answered("closed", it, symbol(it.contract_id)),

  OrderReported: ({ order: it }, symbol) => [
    PLAIN,
    `${it.side} ${it.quantity} ${symbol(it.contract_id)} ${it.status} (order ${it.broker_order_id})`,
  ],
  OrderLookedUp: (it) => [
    WARN,
    `Looked for ${it.client_order_id}: ${it.orders.length} orders, ${it.trades.length} trades` +
      (it.complete ? "" : ", not complete"),
  ],
  TradeReported: ({ trade: it }, symbol) => [
    it.voided ? BAD : GOOD,
    `${it.voided ? "VOIDED " : ""}${it.side} ${it.quantity} ${symbol(it.contract_id)} @ ${it.price}` +
      result(it.profit_and_loss_micros),
  ],
  PositionReported: ({ position: it }, symbol) => [
    PLAIN,
    it.quantity
      ? `${symbol(it.contract_id)} position ${it.quantity} @ ${it.average_price}`
      : `${symbol(it.contract_id)} position closed`,
  ],

  PlaceOrder: (it, symbol) => [
    PLAIN,
    `→ ${it.side} ${it.quantity} ${symbol(it.contract_id)} ${it.type}` +
      ` ${at(it.limit_price, it.stop_price, it.trail_price)}`,
  ],
  CancelOrder: (it) => [PLAIN, `→ cancel order ${it.broker_order_id}${because(it.reason)}`],
  ModifyOrder: (it) => [PLAIN, `→ change order ${it.broker_order_id}${because(it.reason)}`],
  ClosePosition: (it, symbol) => [
    WARN,
    `→ close ${it.quantity ?? "all of"} ${symbol(it.contract_id)}${because(it.reason)}`,
  ],
  RaiseAlert: (it) => [
    it.severity === "CRITICAL" ? BAD : it.severity === "WARNING" ? WARN : PLAIN,
    `${it.repeat ? "Still: " : ""}${it.code}${because(it.message)}`,
  ],
};

/** Return `{level, text, quiet}` of one record. */
export function inWords({ record, payload }, symbol) {
  const kind = payload?.kind;
  if (record === "proof") return proven(payload?.proof);
  const sentence = SENTENCES[kind];
  if (!sentence) return { level: PLAIN, text: kind || record, quiet: QUIET.has(kind) || !kind };
  try {
    const [level, text] = sentence(payload, symbol);
    return { level, text, quiet: QUIET.has(kind) || isRepeated(payload) };
  } catch {
    // A record in the shape of another version: better a bare word than no line.
    return { level: PLAIN, text: kind, quiet: false };
  }
}

/** Say whether a record only repeats what one before it said: a reminder, a search in vain. */
function isRepeated({ kind, repeat, orders, trades }) {
  return kind === "OrderLookedUp" ? orders.length + trades.length === 0 : Boolean(repeat);
}

function proven(proof) {
  const ticks = proof?.slippage?.ticks?.decimal;
  const text = `Proof of ${proof?.order?.client_order_id ?? "an order"}: ${proof?.order?.state ?? ""}`;
  const slipped = ticks === undefined ? "" : `, slippage ${ticks} ${ticks === "1" ? "tick" : "ticks"}`;
  return { level: proof?.slippage?.breach ? WARN : PLAIN, text: text + slipped, quiet: false };
}

function wish(it) {
  const price = at(it.limit_price, it.stop_price);
  return `${it.side} ${it.quantity} ${it.symbol} ${it.type} ${it.type === "MARKET" ? "" : price}`.trim();
}

function answered(done, { answer, message, code }, what) {
  switch (answer) {
    case "YES":
      return [PLAIN, `${what} ${done}`];
    case "NO":
      return [BAD, `${what} not ${done}: ${message || `code ${code}`}`];
    case "NOT_SENT":
      return [WARN, `${what} not sent${because(message)}`];
    default:
      return [BAD, `${what}: no answer, so it may be ${done} or not${because(message)}`];
  }
}

function result(micros) {
  return micros === null || micros === undefined ? "" : `, result ${dollars(fromMicros(micros))}`;
}
