// The official SignalR client of Microsoft against a ProjectX gateway at GATEWAY_URL:
// login, both hubs (negotiated and not), a bracket order, its fill, a close and cancels, and what
// the client makes of resets and Close records (those need the simulator's control port).
// With GATEWAY_GUARDED=1 a guard stands there: it takes legs away by itself, and it refuses.
// Prints one line per step and ends with 1 when one fails.

import { HubConnectionBuilder, HttpTransportType, LogLevel } from "@microsoft/signalr";

const gateway = process.env.GATEWAY_URL;
const guarded = process.env.GATEWAY_GUARDED === "1";
const WAIT_MS = 15_000;
const STATUS = { OPEN: 1, FILLED: 2, CANCELLED: 3 };

const events = [];
const watchers = new Set();
let token = null;

function record(target, payload) {
  events.push({ target, payload });
  for (const look of [...watchers]) look();
}

/** Resolve with the first event, past or future, that `matches`. */
function seen(target, matches) {
  return new Promise((resolve, reject) => {
    const look = () => {
      const found = events.find((event) => event.target === target && matches(event.payload));
      if (!found) return;
      clearTimeout(deadline);
      watchers.delete(look);
      resolve(found.payload);
    };
    const deadline = setTimeout(() => {
      watchers.delete(look);
      reject(new Error(`no fitting ${target} within ${WAIT_MS} ms`));
    }, WAIT_MS);
    watchers.add(look);
    look();
  });
}

async function post(path, body) {
  const answer = await fetch(`${gateway}/api/${path}`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
    },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: HTTP ${answer.status}`);
  const envelope = await answer.json();
  if (!envelope.success) {
    throw new Error(`${path}: code ${envelope.errorCode} ${envelope.errorMessage ?? ""}`);
  }
  return envelope;
}

function hub(name, options) {
  const connection = new HubConnectionBuilder()
    .withUrl(`${gateway}/hubs/${name}`, { accessTokenFactory: () => token, ...options })
    .configureLogging(LogLevel.None)
    .withAutomaticReconnect()
    .build();
  connection.serverTimeoutInMilliseconds = 30_000;
  return connection;
}

async function step(name, act) {
  try {
    const result = await act();
    console.log(`ok    official SignalR client: ${name}`);
    return result;
  } catch (error) {
    console.log(`FAIL  official SignalR client: ${name}: ${error.message}`);
    process.exit(1);
  }
}

const orderEvent = (id, status) =>
  seen("GatewayUserOrder", (event) => event.data.id === id && event.data.status === status);

const legEvent = (tag, status) =>
  seen("GatewayUserOrder", (event) => event.data.customTag === tag && event.data.status === status);

await step("login by key", async () => {
  const login = { userName: process.env.GATEWAY_USER, apiKey: process.env.GATEWAY_KEY };
  token = (await post("Auth/loginKey", login)).token;
});

const account = await step("find the account", async () => {
  const { accounts } = await post("Account/search", { onlyActiveAccounts: true });
  return accounts[0];
});

const contract = await step("find the contract", async () => {
  const { contracts } = await post("Contract/search", { searchText: "MNQ", live: false });
  return contracts[0];
});

const user = hub("user", {});
for (const noun of ["Account", "Order", "Position", "Trade"]) {
  user.on(`GatewayUser${noun}`, (event) => record(`GatewayUser${noun}`, event));
}
await step("negotiate and connect to the user hub", () => user.start());
await step("subscribe to accounts, orders, positions and trades", async () => {
  await user.invoke("SubscribeAccounts");
  await user.invoke("SubscribeOrders", account.id);
  await user.invoke("SubscribePositions", account.id);
  await user.invoke("SubscribeTrades", account.id);
});

const market = hub("market", {
  skipNegotiation: true,
  transport: HttpTransportType.WebSockets,
});
market.on("GatewayQuote", (id, quote) => record("GatewayQuote", { id, quote }));
market.on("GatewayTrade", () => {});
market.on("GatewayDepth", () => {});
await step("connect to the market hub without negotiation", () => market.start());
const quote = await step("subscribe to quotes and see one", async () => {
  await market.invoke("SubscribeContractQuotes", contract.id);
  return seen("GatewayQuote", ({ id, quote }) => id === contract.id && quote.bestBid > 0);
});
await step("hear about a method that does not exist", async () => {
  const error = await market.invoke("SubscribeDepth", contract.id).then(
    () => new Error("no error came"),
    (refused) => refused,
  );
  if (!error.message.includes("Method does not exist")) throw error;
});

const tag = `foreign-js-${Date.now()}`;
const order = { accountId: account.id, contractId: contract.id, size: 1 };
const entryId = await step("place a market order with brackets", async () => {
  const placed = await post("Order/place", {
    ...order,
    type: 2,
    side: 0,
    customTag: tag,
    stopLossBracket: { ticks: -400, type: 4 },
    takeProfitBracket: { ticks: 400, type: 1 },
  });
  return placed.orderId;
});
await step("see the fill, its trade and the position", async () => {
  await orderEvent(entryId, STATUS.FILLED);
  await seen("GatewayUserTrade", (event) => event.data.orderId === entryId);
  await seen("GatewayUserPosition", (event) => event.data.type === 1 && event.data.size === 1);
});
const legs = await step("see both bracket legs working", async () =>
  Promise.all([legEvent(`${tag}-SL`, STATUS.OPEN), legEvent(`${tag}-TP`, STATUS.OPEN)]),
);
await step("close the position and see it go", async () => {
  await post("Position/closeContract", { accountId: account.id, contractId: contract.id });
  await seen("GatewayUserPosition", (event) => event.data.type === 0 && event.data.size === 0);
});
await step(guarded ? "see both legs go by themselves" : "cancel both legs and see it", async () => {
  for (const leg of legs) {
    const ids = { accountId: account.id, orderId: leg.data.id };
    if (!guarded) await post("Order/cancel", ids);
    await orderEvent(leg.data.id, STATUS.CANCELLED);
  }
});
if (guarded) {
  await step("hear a refusal that names the rule", async () => {
    const refused = await post("Order/place", { ...order, type: 2, side: 0, size: 99 }).then(
      () => new Error("it was taken"),
      (error) => error,
    );
    if (!refused.message.includes("_TOO_LARGE")) throw refused;
  });
}

/** Place an order; a guard that is still closing the position before says so, and is asked again. */
async function placed(body) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    try {
      return await post("Order/place", body);
    } catch (error) {
      const passes = /POSITION_CLOSING|PROTECTION_LEFTOVER|STATE_REDUCING/.test(error.message);
      if (!guarded || !passes || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
  }
}
await step("place a limit order far away, see it work, cancel it", async () => {
  const limitPrice = Math.round(quote.quote.bestBid) - 50;
  const body = { ...order, type: 1, side: 0, limitPrice, customTag: `${tag}-L` };
  const { orderId } = await placed(body);
  await orderEvent(orderId, STATUS.OPEN);
  await post("Order/cancel", { accountId: account.id, orderId });
  await orderEvent(orderId, STATUS.CANCELLED);
});
await step("find nothing left open", async () => {
  const { orders } = await post("Order/searchOpen", { accountId: account.id });
  const { positions } = await post("Position/searchOpen", { accountId: account.id });
  if (orders.length || positions.length) throw new Error(JSON.stringify({ orders, positions }));
});
// The gateway's own behaviour when a connection ends, by the simulator's control port.
const control = (path, body) =>
  fetch(`${gateway}/_simulator/${path}`, { method: "POST", body: JSON.stringify(body) });
const ended = (connection, how) =>
  new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error(`no ${how} came`)), WAIT_MS);
    connection[how](() => {
      clearTimeout(deadline);
      resolve();
    });
  });
for (const [cause, path, body] of guarded ? [] : [
  ["a TCP reset", "hub/drop", { hub: "user" }],
  ["Close with leave to reconnect", "hub/close", { hub: "user", allow_reconnect: true }],
]) {
  await step(`come back by itself after ${cause}`, async () => {
    const back = ended(user, "onreconnected");
    await control(path, body);
    await back;
    await user.invoke("SubscribeOrders", account.id);
  });
}
if (!guarded) await step("stay away after Close without leave to reconnect", async () => {
  const gone = ended(market, "onclose");
  await control("hub/close", { hub: "market", allow_reconnect: false });
  await gone;
  if (market.state !== "Disconnected") throw new Error(`it is ${market.state}`);
});
await step("stop both hubs", async () => {
  await user.stop();
  await market.stop();
});
