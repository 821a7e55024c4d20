"""Exposure as the exchange's own book has it, by code that shares nothing with the guard's.

At each order that reaches the venue the four limits are worked out anew from what is held and what
works there: in dollars, as floats, by trying every outcome that could be the worst. Volatility and
correlation are those that the guard counts with: ``storm.estimate_truth`` judges them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from itertools import product
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from backstop.adapters.projectx.wire import ModifyBody, OrderRow, PlaceBody
from backstop.app.critical_system_manager import CriticalSystemManager
from backstop.config.settings import Settings
from backstop.storm.estimate_truth import counted_by
from backstop.storm.history import FamilyBars
from backstop.storm.told import may_be_held, shown_of_late
from backstop.storm.truth import STOPS, Truth, sign

POINT_VALUES: Final = {"EP": 50.0, "MES": 5.0, "ENQ": 20.0, "MNQ": 2.0}
"""Dollars for one point of one contract, by the venue's root: the exchange's contract terms."""

FAMILIES: Final = {"EP": "ES", "MES": "ES", "ENQ": "NQ", "MNQ": "NQ"}

SAME_BET_LEAST: Final = 0.85
"""S&P and Nasdaq never count as moving together less than this."""

DRIFT: Final = 0.02
"""How far prices may move from a decision to its arrival, as a share; a gap is farther."""

FRESH_S: Final = 1.0
"""An order that was decided longer ago met another market."""

SHOWN_S: Final = 5.0
"""What was held longer ago no row shows any more, however late it comes."""


class Limits(Struct, frozen=True, kw_only=True):
    """The four limits in dollars."""

    correlated: float
    es_nq: float
    one_side: float
    gross: float

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return what settings mean, by their own words."""
        budget = float(settings.risk_budget)
        gross = float(settings.max_gross_exposure)
        return cls(
            correlated=float(settings.max_correlation_exposure) * budget,
            es_nq=float(settings.es_nq_max_combined_exposure),
            one_side=float(settings.max_directional_share) * gross,
            gross=gross,
        )


class Size(NamedTuple):
    """Contracts that an order could fill; negative: it sells."""

    contract_id: str
    signed: int


class _Seen(Struct, frozen=True, kw_only=True):
    """What is held, and what could fill."""

    held: Mapping[str, int]
    orders: tuple[Size, ...]

    def with_more(self, more: Size) -> "_Seen":
        """Return the same with another order."""
        return replace(self, orders=(*self.orders, more))


class ExposureWatch:
    """Judges each order that reaches the venue."""

    def __init__(
        self,
        truth: Truth,
        *,
        limits: Limits,
        bars: Mapping[str, FamilyBars],
        guard: Callable[[], CriticalSystemManager | None],
        broke: Callable[[str, str], None],
    ) -> None:
        """Prepare.

        Args:
            truth: of the exchange.
            limits: that the guard was given.
            bars: that the venue has served, by family.
            guard: the one that runs; None while there is none.
            broke: takes what does not hold.
        """
        self._truth = truth
        self._limits = limits
        self._bars = bars
        self._guard = guard
        self._broke = broke
        self._decided: dict[str, float] = {}  # in the order in which they were let pass
        # Tags of those that only took away by what the guard knew then.
        self._exits: set[str] = set()
        # Tags of stops and targets of the guard -> what may have been held when it placed them.
        self._protective: dict[str, frozenset[int]] = {}
        # And what a row showed then, against the trades.
        self._shown: dict[str, int] = {}
        self.looked = 0

    def decided(self, client_order_id: str) -> None:
        """Take note of the moment at which the guard let an order pass."""
        self._decided[client_order_id] = self._truth.now_s()
        guard = self._guard()
        if guard is None:
            return
        order = guard.book.orders.get(client_order_id)
        if order is not None and guard.book.is_exit(order):
            self._exits.add(order.custom_tag)
        if order is not None and order.role is not None:
            contract_id, since_s = order.intent.contract_id, self._truth.now_s() - SHOWN_S
            self._protective.setdefault(
                order.custom_tag, may_be_held(self._truth, guard.book, contract_id)
            )
            shown = shown_of_late(self._truth, guard.book, contract_id, since_s=since_s)
            self._shown.setdefault(order.custom_tag, shown)

    def on_place(self, body: PlaceBody) -> None:
        """Look at an order that reaches the venue from the guard, before it is there."""
        guard = self._guard()
        if guard is None or self._closes(body) or not self._is_fresh(guard, body.custom_tag):
            return
        tag, more = str(body.custom_tag), Size(body.contract_id, sign(body.side) * body.size)
        self._look(guard, more, tag, self._seen(self._exits_after(guard, tag)))

    def on_modify(self, body: ModifyBody) -> None:
        """Look at an order that becomes larger."""
        guard, row = self._guard(), self._truth.live.get(body.order_id)
        if guard is None or row is None or body.size is None or self._protects(row):
            return
        if body.size > row.size and self._is_fresh(guard, row.custom_tag):
            more = Size(row.contract_id, sign(row.side) * (body.size - row.size))
            self._look(guard, more, f"a change of {row.custom_tag}", self._seen(frozenset()))

    def _look(self, guard: CriticalSystemManager, more: Size, what: str, seen: "_Seen") -> None:
        """Work the limits out with ``more`` beside what is ``seen``, and without."""
        self.looked += 1
        sigma, rho = counted_by(guard)
        if self._only_reduces(sigma, more, seen):
            return
        before = self._readings(sigma, rho, seen)
        after = self._readings(sigma, rho, seen.with_more(more))
        for (name, value, limit), (_, value_before, _) in zip(after, before, strict=True):
            grows = value > value_before + 1.0
            if grows and value > limit * (1.0 + DRIFT):
                self._broke(
                    "within limits",
                    f"{what}: {name} would be {value:.0f} dollars; {limit:.0f} are allowed",
                )

    # -- what could fill -------------------------------------------------------------------------

    def _is_fresh(self, guard: CriticalSystemManager, tag: str | None) -> bool:
        client_order_id = guard.book.client_of_tag.get(tag or "", "")
        decided_s = self._decided.get(client_order_id)
        return decided_s is not None and self._truth.now_s() - decided_s < FRESH_S

    def _closes(self, body: PlaceBody) -> bool:
        """Say whether an order does no more than take away from a position, or protects it.

        The guard protects what is there by any word: that it is gone it may not have been told, and
        the word that it is there may come after that.
        """
        shown = self._shown.get(body.custom_tag or "", 0)
        if body.type in STOPS and shown * sign(body.side) < 0 and body.size <= abs(shown):
            return True
        held = {self._truth.positions.get(body.contract_id, 0)}
        held |= self._protective.get(body.custom_tag or "", frozenset())
        return any(
            it * sign(body.side) < 0 and (body.type in STOPS or body.size <= abs(it)) for it in held
        )

    def _protects(self, row: OrderRow) -> bool:
        held = self._truth.positions.get(row.contract_id, 0)
        tag = row.custom_tag or ""
        may_protect = row.type in STOPS or tag in self._protective
        return tag.endswith(("-SL", "-TP")) or (may_protect and held * sign(row.side) < 0)

    def _only_reduces(self, sigma: Mapping[str, float], more: Size, seen: "_Seen") -> bool:
        """Say whether an order only shrinks what its family comes to, as a close of a part does.

        It may be of the micro while the mini is held the other way: what hedged another family gets
        smaller, and no limit can forbid that.
        """
        low, high = self._ranges(sigma, seen)[_family(more.contract_id)]
        risk = more.signed * self._risk(more.contract_id, sigma)
        return high + risk < 1.0 if risk > 0.0 else low + risk > -1.0

    def _exits_after(self, guard: CriticalSystemManager, tag: str) -> frozenset[str]:
        """Return tags of the exits that were let pass after an order, and may arrive before it.

        What hedged it may go with them; the guard could not know that, and keeps no exit back.
        """
        names = [*self._decided]
        orders = guard.book.orders
        later = names[names.index(guard.book.client_of_tag[tag]) + 1 :]
        tags = (orders[name].custom_tag for name in later if name in orders)
        return frozenset(it for it in tags if it in self._exits)

    def _seen(self, unknown: AbstractSet[str]) -> "_Seen":
        """Return what is held and could fill, as if orders with the tags ``unknown`` were not."""
        truth = self._truth
        held = Counter(truth.positions)
        for row in truth.orders.values() if unknown else ():
            if row.custom_tag in unknown:
                held[row.contract_id] -= sign(row.side) * row.fill_volume
        orders = (
            Size(row.contract_id, sign(row.side) * (row.size - row.fill_volume))
            for row in truth.live.values()
            if not self._protects(row) and row.custom_tag not in unknown
        )
        return _Seen(held=held, orders=tuple(orders))

    def _ranges(self, sigma: Mapping[str, float], seen: "_Seen") -> dict[str, tuple[float, float]]:
        """Return the least and the most that each family could come to, in risk dollars."""
        low = dict.fromkeys(self._bars, 0.0)
        high = dict.fromkeys(self._bars, 0.0)
        for contract_id, held in seen.held.items():
            risk = held * self._risk(contract_id, sigma)
            low[_family(contract_id)] += risk
            high[_family(contract_id)] += risk
        for order in seen.orders:
            ends = high if order.signed > 0 else low
            ends[_family(order.contract_id)] += order.signed * self._risk(order.contract_id, sigma)
        return {family: (low[family], high[family]) for family in low}

    def _risk(self, contract_id: str, sigma: Mapping[str, float]) -> float:
        family = _family(contract_id)
        return POINT_VALUES[_root(contract_id)] * self._bars[family].price * sigma[family]

    def _readings(
        self,
        sigma: Mapping[str, float],
        rho: Mapping[frozenset[str], float | None],
        seen: "_Seen",
    ) -> list[tuple[str, float, float]]:
        """Return each limit's name, its value at the worst outcome, and the limit."""
        ranges = self._ranges(sigma, seen)
        outcomes = [
            dict(zip(ranges, ends, strict=True)) for ends in product(*map(_ends, ranges.values()))
        ]
        correlated = max(
            _correlated(family, outcome, rho) for outcome in outcomes for family in outcome
        )
        limits = self._limits
        return [
            ("what moves together", correlated, limits.correlated),
            ("S&P with Nasdaq", correlated, limits.es_nq),  # no other family is traded here
            ("longs", sum(max(0.0, high) for _, high in ranges.values()), limits.one_side),
            ("shorts", sum(max(0.0, -low) for low, _ in ranges.values()), limits.one_side),
            ("all", sum(max(0.0, high, -low) for low, high in ranges.values()), limits.gross),
        ]


def _ends(bounds: tuple[float, float]) -> tuple[float, ...]:
    """Return what could be the worst of a range: its ends, and flat where that lies between."""
    low, high = bounds
    return (low, high, 0.0) if low < 0.0 < high else (low, high)


def _correlated(
    family: str, outcome: Mapping[str, float], rho: Mapping[frozenset[str], float | None]
) -> float:
    own = outcome[family]
    if own == 0.0:
        return 0.0
    total, hedges = abs(own), 0.0
    for other, risk in outcome.items():
        if other == family or risk == 0.0:
            continue
        measured = rho.get(frozenset((family, other)))
        same_side = own * risk > 0.0
        if measured is None:
            total += abs(risk) if same_side else 0.0
        elif same_side or own * risk * measured > 0.0:
            # ES and NQ on one side are one bet, whatever was measured.
            total += max(SAME_BET_LEAST, abs(measured)) * abs(risk)
        else:
            hedges += 0.5 * abs(measured) * abs(risk)
    return total - min(hedges, 0.5 * abs(own))


def _root(contract_id: str) -> str:
    return contract_id.split(".")[3]


def _family(contract_id: str) -> str:
    return FAMILIES[_root(contract_id)]
