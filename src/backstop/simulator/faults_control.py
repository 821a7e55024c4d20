"""The control port of the simulator: ``/_simulator/…`` on the gateway's own address.

Not part of the gateway: it needs no token, changes the world and tells the truth. It answers JSON,
422 with the field and what is allowed for anything it cannot use, 404 for unknown ids.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from backstop.adapters.projectx.wire import UNREADABLE
from backstop.adapters.projectx_server.venue import Outcome
from backstop.errors import SettingError
from backstop.simulator.fault_rules import (
    NOW,
    FaultKind,
    FaultRule,
    parse_rule,
    parse_rules,
    seeded_rules,
)
from backstop.simulator.faults import ActiveRule, FaultPlan

PREFIX: Final = "/_simulator"
_BodyT = TypeVar("_BodyT", bound=Struct)
INTENSITY_DEFAULT = 0.02
OVERFILL_MAX = 1_000  # contracts; a mistake larger than this is another story

SHORTCUTS: Final = {
    "/hub/drop": FaultKind.HUB_RESET,
    "/hub/end": FaultKind.HUB_END,
    "/hub/close": FaultKind.HUB_CLOSE,
    "/hub/mute": FaultKind.HUB_MUTE,
    "/hub/freeze": FaultKind.HUB_FREEZE,
    "/hub/garbage": FaultKind.HUB_GARBAGE,
    "/hub/unknown-type": FaultKind.HUB_UNKNOWN_TYPE,
    "/hub/logout": FaultKind.LOGOUT,
    "/token/kill": FaultKind.KILL_TOKENS,
    "/quote/freeze": FaultKind.FREEZE_QUOTES,
    "/clock/skew": FaultKind.SKEW_CLOCK,
    "/clock/hide": FaultKind.HIDE_CLOCK,
}
"""Faults that strike at once; the body holds the other members of the rule, or nothing."""


class VenueControls(Protocol):
    """What the firm and fate may do to the venue; the simulated exchange has all of it."""

    def truth(self) -> dict[str, object]:
        """Return everything as it really is, JSON-able."""

    def liquidate_account(self, account_id: int, reason: str) -> list[int]:
        """Lock an account and close everything; return the ids of the closing orders."""

    def bust_trade(self, trade_id: int) -> None:
        """Void a trade."""

    def overfill(self, order_id: int, size: int) -> None:
        """Fill more of a filled order than it asked for."""

    def set_can_trade(self, account_id: int, can_trade: bool) -> None:  # noqa: FBT001 - the venue's
        """Lock an account or free it."""

    def set_market_open(self, contract_id: str | None, is_open: bool) -> None:  # noqa: FBT001 - the venue's
        """Open or close one market, or all with None."""

    def expire_contract(self, contract_id: str) -> None:
        """End a contract month."""

    def place_manual(
        self,
        account_id: int,
        contract_id: str,
        *,
        type: int,  # noqa: A002 - the wire's name
        side: int,
        size: int,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trail_price: Decimal | None = None,
    ) -> Outcome:
        """Place an order as the firm's web page does: without a tag."""


class _Seed(Struct, kw_only=True, forbid_unknown_fields=True):
    seed: int
    intensity: float = INTENSITY_DEFAULT


class _Liquidate(Struct, kw_only=True, forbid_unknown_fields=True):
    account_id: int
    reason: str = "maximum loss limit"


class _Bust(Struct, kw_only=True, forbid_unknown_fields=True):
    trade_id: int


class _Overfill(Struct, kw_only=True, forbid_unknown_fields=True):
    order_id: int
    size: int = 1


class _Lock(Struct, kw_only=True, forbid_unknown_fields=True):
    account_id: int
    can_trade: bool = False


class _Market(Struct, kw_only=True, forbid_unknown_fields=True):
    open: bool
    contract_id: str | None = None


class _Expire(Struct, kw_only=True, forbid_unknown_fields=True):
    contract_id: str


class _ManualOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    account_id: int
    contract_id: str
    type: int
    side: int
    size: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None


class FaultsControl:
    """The routes of the control port over one plan and one venue."""

    def __init__(self, plan: FaultPlan, venue: VenueControls) -> None:
        self._plan = plan
        self._venue = venue

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the gateway's application, before it runs."""
        acts: dict[str, Callable[[bytes], object]] = {
            "/faults": self._add_rules,
            "/liquidate": self._liquidate,
            "/bust": self._bust,
            "/overfill": self._overfill,
            "/lock": self._lock,
            "/market": self._market,
            "/expire": self._expire,
            "/manual-order": self._manual_order,
        }
        for path, kind in SHORTCUTS.items():
            acts[path] = self._striker(kind)
        for path, act in acts.items():
            app.router.add_post(f"{PREFIX}{path}", _answered(act))
        app.router.add_get(f"{PREFIX}/faults", _answered(self._show))
        app.router.add_delete(f"{PREFIX}/faults", _answered(self._heal))
        app.router.add_get(f"{PREFIX}/truth", _answered(lambda _: self._venue.truth()))
        app.on_cleanup.append(self._close)

    async def _close(self, _: web.Application) -> None:
        self._plan.close()

    # -- faults ---------------------------------------------------------------------------------

    def _add_rules(self, body: bytes) -> object:
        given = _json(body)
        if isinstance(given, dict) and "seed" in given:
            seed = _bound(body, _Seed)
            if not 0 < seed.intensity <= 1:
                raise SettingError("intensity", f"{seed.intensity} is out of range", "above 0 to 1")
            self._plan.reseed(seed.seed)
            rules = seeded_rules(seed.intensity)
        else:
            rules = parse_rules(given if isinstance(given, list) else [given])
        return {"rules": [_shown(active) for active in self._plan.add(rules)]}

    def _show(self, _: bytes) -> object:
        return {
            "seed": self._plan.seed,
            "rules": [_shown(active) for active in self._plan.rules],
            "applied_count": self._plan.applied_count,
            "applied": list(self._plan.applied),
        }

    def _heal(self, _: bytes) -> object:
        return {"removed": self._plan.heal()}

    def _striker(self, kind: FaultKind) -> Callable[[bytes], object]:
        def strike(body: bytes) -> object:
            given = _json(body) if body.strip() else {}
            if not isinstance(given, dict):
                raise SettingError("body", "is no object", "a JSON object or nothing")
            rule = parse_rule({**given, "on": NOW, "act": kind.value})
            return {"rules": [_shown(active) for active in self._plan.add([rule])]}

        return strike

    # -- the venue ------------------------------------------------------------------------------

    def _liquidate(self, body: bytes) -> object:
        given = _bound(body, _Liquidate)
        return {"order_ids": self._venue.liquidate_account(given.account_id, given.reason)}

    def _bust(self, body: bytes) -> object:
        self._venue.bust_trade(_bound(body, _Bust).trade_id)
        return {}

    def _overfill(self, body: bytes) -> object:
        given = _bound(body, _Overfill)
        if not 0 < given.size <= OVERFILL_MAX:
            raise SettingError("size", f"{given.size} is out of range", f"1 to {OVERFILL_MAX}")
        self._venue.overfill(given.order_id, given.size)
        return {}

    def _lock(self, body: bytes) -> object:
        given = _bound(body, _Lock)
        self._venue.set_can_trade(given.account_id, given.can_trade)
        return {}

    def _market(self, body: bytes) -> object:
        given = _bound(body, _Market)
        self._venue.set_market_open(given.contract_id, given.open)
        return {}

    def _expire(self, body: bytes) -> object:
        self._venue.expire_contract(_bound(body, _Expire).contract_id)
        return {}

    def _manual_order(self, body: bytes) -> object:
        given = _bound(body, _ManualOrder)
        outcome = self._venue.place_manual(
            given.account_id,
            given.contract_id,
            type=given.type,
            side=given.side,
            size=given.size,
            limit_price=given.limit_price,
            stop_price=given.stop_price,
            trail_price=given.trail_price,
        )
        return {"order_id": outcome.order_id, "code": outcome.code, "message": outcome.message}


def _answered(
    act: Callable[[bytes], object],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Wrap one act: 200 with its answer, 422 for unusable input, 404 for unknown ids."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return _answer(200, act(await request.read()))
        except SettingError as error:
            return _answer(
                422,
                {
                    "error": {
                        "code": "UNUSABLE_INPUT",
                        "field": error.name,
                        "message": str(error),
                        "allowed": error.allowed,
                    }
                },
            )
        except KeyError as error:
            return _answer(
                404, {"error": {"code": "NOT_FOUND", "message": f"The venue has no {error}."}}
            )

    return handle


def _answer(status: int, body: object) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        charset="utf-8",
    )


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except UNREADABLE as error:
        raise SettingError("body", f"not JSON: {error}", "JSON") from None


def _bound(body: bytes, body_type: type[_BodyT]) -> _BodyT:
    try:
        return msgspec.json.decode(body, type=body_type)
    except msgspec.ValidationError as error:
        fault, _, path = str(error).partition(" - at `$.")
        allowed = ", ".join(
            f"{field.name} ({getattr(field.type, '__name__', field.type)})"
            for field in msgspec.structs.fields(body_type)
        )
        raise SettingError(path.rstrip("`") or "body", fault, allowed) from None
    except UNREADABLE as error:
        raise SettingError("body", f"not JSON: {error}", "a JSON object") from None


def _shown(active: ActiveRule) -> dict[str, object]:
    """Return a rule as the control port shows it: what was set, and its counters."""
    defaults = msgspec.to_builtins(FaultRule(on=NOW, act=FaultKind.HUB_RESET))
    given = {
        name: value
        for name, value in msgspec.to_builtins(active.rule).items()
        if name in {"on", "act"} or value != defaults[name]
    }
    return {"id": active.id, **given, "matched": active.matched, "hit": active.hit}
