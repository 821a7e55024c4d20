"""The same wish again, or another one under its name: a repeat gets the order that there is.

A name stands for one order for ever. A bot that sends another body under it has lost count of its
names, and finds out fastest when it is told what differs.
"""

from collections.abc import Iterable
from decimal import Decimal

from backstop.core.step import Decision, DecisionKind
from backstop.core.tracked_order import TrackedOrder
from backstop.domain.events import OrderRegistered
from backstop.domain.numbers import plain
from backstop.domain.order import OrderRequest


def known_already(known: TrackedOrder, request: OrderRequest) -> Decision:
    """Return the answer to a wish whose client_order_id is in use."""
    if known.registered:
        # "The same order" would sound as if it had been sent for whoever asks now.
        message = "this client_order_id is registered for an order that its owner sends"
        return Decision(kind=DecisionKind.CONFLICT, order=known, message=message)
    if known.request == request:
        return Decision(kind=DecisionKind.REPEATED, order=known)
    differing = _differing(_members(known.request), _members(request))
    message = f"this client_order_id belongs to an order with another body: {differing}"
    return Decision(kind=DecisionKind.CONFLICT, order=known, message=message)


def registered_otherwise(known: TrackedOrder, event: OrderRegistered) -> Decision | None:
    """Return why ``event`` does not register ``known`` once more; None when it does.

    A number that the venue gave since may be told later.
    """
    name = known.client_order_id
    if not known.registered:
        message = f"{name} was placed by the guard"
        return Decision(kind=DecisionKind.CONFLICT, order=known, message=message)
    held = [*_members(known.request), ("custom_tag", known.custom_tag or None)]
    asked = [*_members(event.request), ("custom_tag", event.custom_tag or None)]
    if event.broker_order_id is not None and known.broker_order_id is not None:
        held.append(("broker_order_id", known.broker_order_id))
        asked.append(("broker_order_id", event.broker_order_id))
    differing = _differing(held, asked)
    if not differing:
        return None
    message = f"{name} is registered with another body: {differing}"
    return Decision(kind=DecisionKind.CONFLICT, order=known, message=message)


def _members(request: OrderRequest) -> list[tuple[str, object]]:
    return [(name, getattr(request, name)) for name in request.__struct_fields__]


def _differing(held: Iterable[tuple[str, object]], asked: Iterable[tuple[str, object]]) -> str:
    """Return every member that differs, with the value that it has and the one asked for."""
    return "; ".join(
        f"{name} is {_text(has)} there, and {_text(wanted)} here"
        for (name, has), (_, wanted) in zip(held, asked, strict=True)
        if has != wanted
    )


def _text(value: object) -> str:
    if value is None:
        return "unset"
    return f"{plain(value):f}" if isinstance(value, Decimal) else str(value)
