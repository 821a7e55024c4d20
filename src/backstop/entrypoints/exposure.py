"""The verb ``exposure``: risk dollars per root, the room of each limit, and the matrix."""

from typing import Any

from backstop.entrypoints.place import guard_client
from backstop.entrypoints.reading import AsJson, checked
from backstop.entrypoints.terminal import columns, say, say_json


def exposure(*, as_json: AsJson = False) -> None:
    """Show risk dollars per root, the room of each limit, and what moves together."""
    client = guard_client()
    body, pairs = (
        checked(reply.status, reply.body)
        for reply in (client.call("GET", "/v1/exposure"), client.call("GET", "/v1/correlations"))
    )
    if as_json:
        say_json(body | pairs)
        return
    _say_roots(body["roots"])
    say("")
    _say_limits(body)
    for family in body["unpriced"]:
        say(f"NO PRICE  the risk of {family} is not known: nothing may be added")
    say("")
    say(
        columns(
            ("FAMILY", "SIGMA %", "ORIGIN"),
            ((it["family"], it["sigma_percent"], it["origin"]) for it in body["volatilities"]),
        )
    )
    _say_pairs(pairs["matrix"])


def _say_roots(rows: list[dict[str, Any]]) -> None:
    if not rows:
        say("nothing is held, and no order could fill")
        return
    say(
        columns(
            ("ROOT", "FAMILY", "QTY", "EACH", "RISK $", "WORST LONG", "WORST SHORT"),
            (
                (
                    row["symbol"],
                    row["family"],
                    f"{row['quantity']:+d}",
                    row["contract_risk"],
                    row["risk"],
                    row["worst_long"],
                    row["worst_short"],
                )
                for row in rows
            ),
        )
    )


def _say_limits(body: dict[str, Any]) -> None:
    if not body["enforced"]:
        say("SWITCHED OFF  no limit on exposure is enforced")
        return
    say(
        columns(
            ("LIMIT", "OF", "VALUE", "ALLOWED", "ROOM", ""),
            (
                (
                    it["limit"],
                    it["subject"],
                    it["value"],
                    it["allowed"],
                    it["headroom"],
                    "BROKEN" if it["breached"] else "",
                )
                for it in body["limits"]
            ),
        )
    )


def _say_pairs(matrix: dict[str, dict[str, dict[str, Any]]]) -> None:
    rows = [
        (f"{first}/{second}", entry["value"], entry["origin"], _age(entry["age_s"]))
        for first, others in matrix.items()
        for second, entry in others.items()
        if first < second
    ]
    if rows:
        say("")
        say(columns(("PAIR", "CORRELATION", "ORIGIN", "AGE"), rows))


def _age(age_s: int | None) -> str | None:
    return None if age_s is None else f"{age_s // 60} min"
