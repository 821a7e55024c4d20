"""Every REST call of the gateway: its body, what it asks the venue, and its answer.

No HTTP here: a call goes from a bound body to an envelope. Error codes are per endpoint; the
number 1 means an unknown or foreign account wherever an account is named.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Raw, Struct

from backstop.adapters.projectx.wire import BarsBody, ModifyBody, PlaceBody, QueryBody
from backstop.adapters.projectx_server.binding import to_utc_us
from backstop.adapters.projectx_server.bodies import (
    AccountBody,
    AccountSearchBody,
    CloseBody,
    ContractAvailableBody,
    ContractIdBody,
    ContractSearchBody,
    LoginAppBody,
    LoginKeyBody,
    NoBody,
    OrderIdBody,
    OrderSearchBody,
    PartialCloseBody,
    TradeSearchBody,
)
from backstop.adapters.projectx_server.config import ServerConfig
from backstop.adapters.projectx_server.json_rows import rest_row
from backstop.adapters.projectx_server.logins import FixedLogins, Logins, same_text
from backstop.adapters.projectx_server.tokens import Session, TokenIssuer
from backstop.adapters.projectx_server.venue import Answer, Desk, Outcome, Venue, settled

SEARCHED_CONTRACTS_MAX = 20  # rows of Contract/search; there is no paging
NOT_YOUR_ACCOUNT = 1

Envelope = dict[str, Any]

Act = Callable[[Session | None, Any], Awaitable[Envelope]]
"""From session (None for logins) and body to the envelope."""


class Endpoint(Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        name: path below ``/api/``.
        body_type: struct its body binds to.
        request_type: the server's name of the request, printed by the 400 answer.
        act: what the call does.
        empty: payload members of a failure.
        pending_code: the code that says "still being processed", where there is one.
    """

    name: str
    body_type: type[Struct]
    request_type: str
    act: Act
    needs_token: bool = True
    empty: tuple[str, ...] = ()
    pending_code: int | None = None


def envelope(code: int = 0, message: str | None = None, **payload: object) -> Envelope:
    """Return an answer in the gateway's envelope."""
    return {**payload, "success": code == 0, "errorCode": code, "errorMessage": message}


class Endpoints:
    """All calls over one venue."""

    def __init__(self, venue: Venue, tokens: TokenIssuer, config: ServerConfig) -> None:
        self._venue = venue
        self._tokens = tokens
        self._config = config
        self._fixed = FixedLogins(config.users)
        self._logins: Logins = config.logins or self._fixed
        self.by_path: Final = {item.name.lower(): item for item in self._all()}

    def set_keys(self, user: str, keys: tuple[str, ...]) -> None:
        """Let ``user`` log in with these keys and no other; tokens are not touched."""
        self._fixed.set_keys(user, keys)

    def known_user(self, name: str) -> str | None:
        """Return the user as configured, found without regard to case."""
        return self._logins.known(name)

    def _all(self) -> list[Endpoint]:
        return [*self._log_ins(), *self._reads(), *self._changes()]

    def _log_ins(self) -> list[Endpoint]:
        return [
            Endpoint(
                name="Auth/loginKey",
                body_type=LoginKeyBody,
                request_type="LoginApiKeyRequest",
                act=self._login_key,
                needs_token=False,
                empty=("token",),
            ),
            Endpoint(
                name="Auth/loginApp",
                body_type=LoginAppBody,
                request_type="LoginAppRequest",
                act=self._login_app,
                needs_token=False,
                empty=("token",),
            ),
            Endpoint(
                name="Auth/validate",
                body_type=NoBody,
                request_type="ValidateRequest",
                act=self._validate,
                empty=("newToken",),
            ),
            Endpoint(
                name="Auth/logout",
                body_type=NoBody,
                request_type="LogoutRequest",
                act=self._logout,
            ),
        ]

    def _reads(self) -> list[Endpoint]:
        table: list[tuple[str, type[Struct], str, str, Act]] = [
            ("Account/search", AccountSearchBody, "SearchAccountRequest", "accounts",
             self._accounts),
            ("Contract/search", ContractSearchBody, "SearchContractRequest", "contracts",
             self._contract_search),
            ("Contract/searchById", ContractIdBody, "SearchContractByIdRequest", "contract",
             self._contract_by_id),
            ("Contract/available", ContractAvailableBody, "ListAvailableContractRequest",
             "contracts", self._contracts_available),
            ("History/retrieveBars", BarsBody, "RetrieveBarRequest", "bars", self._bars),
            ("Order/search", OrderSearchBody, "SearchOrderRequest", "orders", self._orders),
            ("Order/searchOpen", AccountBody, "SearchOpenOrderRequest", "orders",
             self._open_orders),
            ("Order/searchById", OrderIdBody, "SearchOrderByIdRequest", "order", self._order),
            ("Order/v2/query", QueryBody, "SearchOrdersQueryRequest", "orders", self._query),
            ("Position/searchOpen", AccountBody, "SearchPositionRequest", "positions",
             self._positions),
            ("Trade/search", TradeSearchBody, "SearchTradeRequest", "trades", self._trades),
        ]  # fmt: skip
        return [
            Endpoint(name=name, body_type=body, request_type=request, act=act, empty=(payload,))
            for name, body, request, payload, act in table
        ]

    def _changes(self) -> list[Endpoint]:
        return [
            Endpoint(
                name="Order/place",
                body_type=PlaceBody,
                request_type="PlaceOrderRequest",
                act=self._place,
                empty=("orderId",),
                pending_code=6,
            ),
            Endpoint(
                name="Order/modify",
                body_type=ModifyBody,
                request_type="ModifyOrderRequest",
                act=self._modify,
                pending_code=4,
            ),
            Endpoint(
                name="Order/cancel",
                body_type=OrderIdBody,
                request_type="CancelOrderRequest",
                act=self._cancel,
                pending_code=4,
            ),
            Endpoint(
                name="Position/closeContract",
                body_type=CloseBody,
                request_type="CloseContractPositionRequest",
                act=self._close,
                pending_code=6,
            ),
            Endpoint(
                name="Position/partialCloseContract",
                body_type=PartialCloseBody,
                request_type="PartialCloseContractPositionRequest",
                act=self._partial_close,
                pending_code=7,
            ),
        ]

    # -- logins ---------------------------------------------------------------------------------

    async def _login_key(self, _: Session | None, body: LoginKeyBody) -> Envelope:
        name = self._logins.known(body.user_name)
        # An unknown user and a wrong key look alike, as they do at the gateway.
        if name is None or not self._logins.admits(name, body.api_key):
            return envelope(3, token=None)
        return envelope(token=self._tokens.issue(name))

    async def _login_app(self, _: Session | None, body: LoginAppBody) -> Envelope:
        name = self._logins.known(body.user_name)
        if name is None:
            return envelope(1, token=None)
        if not self._logins.admits(name, body.password):
            return envelope(2, token=None)
        verify_key = self._config.apps.get(body.app_id)
        if verify_key is None:
            return envelope(4, token=None)
        if not same_text(verify_key, body.verify_key):
            return envelope(5, token=None)
        return envelope(token=self._tokens.issue(name))

    async def _validate(self, session: Session | None, _: NoBody) -> Envelope:
        return envelope(newToken=self._tokens.issue(_of(session).user))

    async def _logout(self, session: Session | None, _: NoBody) -> Envelope:
        self._tokens.revoke(_of(session))
        return envelope()

    # -- reads ----------------------------------------------------------------------------------

    async def _accounts(self, session: Session | None, body: AccountSearchBody) -> Envelope:
        rows = self._venue.accounts(_of(session).user, only_active=body.only_active_accounts)
        return envelope(accounts=[rest_row(row) for row in rows])

    async def _contract_search(self, session: Session | None, body: ContractSearchBody) -> Envelope:
        wanted = (body.search_text or "").lower()
        rows = [
            rest_row(row)
            for row in await self._active_contracts(session, live=body.live)
            if wanted in f"{row.id} {row.name} {row.description} {row.symbol_id}".lower()
        ]
        return envelope(contracts=rows[:SEARCHED_CONTRACTS_MAX])

    async def _contract_by_id(self, session: Session | None, body: ContractIdBody) -> Envelope:
        row = await settled(self._desk(session).contract(body.contract_id))
        if row is None:
            return envelope(1, contract=None)
        return envelope(contract=rest_row(row))

    async def _contracts_available(
        self, session: Session | None, body: ContractAvailableBody
    ) -> Envelope:
        rows = await self._active_contracts(session, live=body.live)
        return envelope(contracts=[rest_row(row) for row in rows])

    async def _active_contracts(self, session: Session | None, *, live: bool) -> list[Any]:
        if live and not self._config.live_data:
            return []
        rows = await settled(self._desk(session).contracts())
        return [row for row in rows if row.active_contract]

    async def _bars(self, session: Session | None, body: BarsBody) -> Envelope:
        code, rows = await settled(self._desk(session).bars(body))
        if code != 0:
            return envelope(code, bars=None)
        return envelope(bars=rows if isinstance(rows, Raw) else [rest_row(row) for row in rows])

    async def _orders(self, session: Session | None, body: OrderSearchBody) -> Envelope:
        if not self._owns(session, body.account_id):
            return envelope(NOT_YOUR_ACCOUNT, orders=None)
        start_us, end_us = to_utc_us(body.start_timestamp), _optional_us(body.end_timestamp)
        rows = await settled(self._desk(session).orders(body.account_id, start_us, end_us))
        return envelope(orders=[rest_row(row) for row in rows])

    async def _open_orders(self, session: Session | None, body: AccountBody) -> Envelope:
        if not self._owns(session, body.account_id):
            return envelope(NOT_YOUR_ACCOUNT, orders=None)
        rows = await settled(self._desk(session).open_orders(body.account_id))
        return envelope(orders=[rest_row(row) for row in rows])

    async def _order(self, session: Session | None, body: OrderIdBody) -> Envelope:
        order = None
        if self._owns(session, body.account_id):
            order = await settled(self._desk(session).order(body.account_id, body.order_id))
        if order is None:
            return envelope(1, order=None)
        return envelope(order=rest_row(order))

    async def _query(self, session: Session | None, body: QueryBody) -> Envelope:
        if not self._owns(session, body.filter.account_id):
            return envelope(NOT_YOUR_ACCOUNT, orders=None)
        rows, total = await settled(self._desk(session).query_orders(body))
        # The total comes without being asked for: measured on the live gateway.
        return envelope(orders=[rest_row(row) for row in rows], totalCount=total)

    async def _positions(self, session: Session | None, body: AccountBody) -> Envelope:
        if not self._owns(session, body.account_id):
            return envelope(NOT_YOUR_ACCOUNT, positions=None)
        rows = await settled(self._desk(session).positions(body.account_id))
        return envelope(positions=[rest_row(row) for row in rows])

    async def _trades(self, session: Session | None, body: TradeSearchBody) -> Envelope:
        if not self._owns(session, body.account_id):
            return envelope(NOT_YOUR_ACCOUNT, trades=None)
        start_us, end_us = _optional_us(body.start_timestamp), _optional_us(body.end_timestamp)
        rows = await settled(self._desk(session).trades(body.account_id, start_us, end_us))
        return envelope(trades=[rest_row(row) for row in rows])

    # -- changes --------------------------------------------------------------------------------

    async def _place(self, session: Session | None, body: PlaceBody) -> Envelope:
        if not self._owns(session, body.account_id):
            return envelope(NOT_YOUR_ACCOUNT, orderId=None)
        outcome = await settled(self._desk(session).place(body))
        return envelope(outcome.code, outcome.message, orderId=outcome.order_id)

    async def _modify(self, session: Session | None, body: ModifyBody) -> Envelope:
        return await self._changed(session, body.account_id, lambda desk: desk.modify(body))

    async def _cancel(self, session: Session | None, body: OrderIdBody) -> Envelope:
        return await self._changed(
            session, body.account_id, lambda desk: desk.cancel(body.account_id, body.order_id)
        )

    async def _close(self, session: Session | None, body: CloseBody) -> Envelope:
        return await self._changed(
            session,
            body.account_id,
            lambda desk: desk.close_position(body.account_id, body.contract_id),
        )

    async def _partial_close(self, session: Session | None, body: PartialCloseBody) -> Envelope:
        return await self._changed(
            session,
            body.account_id,
            lambda desk: desk.partial_close(body.account_id, body.contract_id, body.size),
        )

    async def _changed(
        self, session: Session | None, account_id: int, change: Callable[[Desk], Answer[Outcome]]
    ) -> Envelope:
        if not self._owns(session, account_id):
            return envelope(NOT_YOUR_ACCOUNT)
        outcome = await settled(change(self._desk(session)))
        return envelope(outcome.code, outcome.message)

    def _desk(self, session: Session | None) -> Desk:
        return self._venue.desk(_of(session).user)

    def _owns(self, session: Session | None, account_id: int) -> bool:
        return self._venue.owns(_of(session).user, account_id)


def _of(session: Session | None) -> Session:
    """Return the session of a call that needs a token; the HTTP layer has seen to it."""
    if session is None:
        raise TypeError("a call that needs a token was let through without one")
    return session


def _optional_us(text: str | None) -> int | None:
    return None if text is None else to_utc_us(text)
