"""The situations that a guard has to survive, each told in one line, and played by one test.

A line's id is its section's letter and its number in the section. A test names the line that it
plays with ``@pytest.mark.scenario("A1")``; ``tools/scenario_table.py`` writes lines and tests into
docs/reference/scenarios.md. A new section is a new entry in ``SECTIONS`` and its lines.
"""

from typing import NamedTuple

SECTIONS = {
    "A": "Sending, silence, and sending again",
    "B": "Fills",
    "K": "The audit trail",
}


class Line(NamedTuple):
    """One situation.

    Attributes:
        situation: what happens.
        outcome: what the test demands of guard, record and exchange.
        remark: what is different at this venue, or how the line is met; empty for nothing.
        not_applicable: why it cannot happen at this venue; such a line has no test.
    """

    situation: str
    outcome: str
    remark: str = ""
    not_applicable: str = ""


LINES: dict[str, Line] = {
    "A1": Line(
        situation="The connection breaks after a market order left, and the fill comes later.",
        outcome="The intent is on disk before the exchange sees it; the order is UNKNOWN and its "
        "contracts count; the first read that works finds it; one order, one fill, one full stop.",
    ),
    "A2": Line(
        situation="Six sells are accepted, no answer comes back, and no read gets through.",
        outcome="All six stay UNKNOWN, count and are shown; entries are refused; once the network "
        "is back all six are ours and filled, and nothing counts as somebody else's.",
        remark="Whole contracts; every connection is reset instead of a name that does not "
        "resolve.",
    ),
    "A3": Line(
        situation="kill -9 between the durable intent and the venue's answer.",
        outcome="The next process searches the tag and sends nothing: the exchange has one order "
        "of that tag where the request had arrived, and none where it had not.",
    ),
    "A4": Line(
        situation="The answer to an order is unusable: no order id, a web page, half a JSON text, "
        "an error status, a reset.",
        outcome="The order becomes UNKNOWN, neither accepted nor rejected, and is found once.",
    ),
    "A5": Line(
        situation="The token dies while an order is on its way, and the venue answers 401.",
        outcome="One login, then searches by tag; nothing is repeated; the order is proven absent, "
        "and only then does the bot's new order leave.",
    ),
    "A6": Line(
        situation="A second request with the same tag is refused because the tag is in use.",
        outcome="The refusal proves the first one: it is found and followed, under its one tag.",
    ),
    "A7": Line(
        situation="Every list of orders denies an order while its fill stands among the trades.",
        outcome="Absence concludes nothing; the trade makes it FILLED; it is never REJECTED.",
    ),
    "A8": Line(
        situation="A cancel gets no answer, or comes too late, and the order fills meanwhile.",
        outcome="The fill is booked and protected; everybody is told FILLED, never CANCELLED.",
    ),
    "A9": Line(
        situation="A price change that restates the whole quantity crosses with partial fills.",
        outcome="Never more than the order's contracts are filled, there and here.",
    ),
    "A10": Line(
        situation="A bot sends the same buy twice at once: under one name, and under two.",
        outcome="One name is one order; the look-alike is refused as a duplicate, and logged.",
    ),
    "A11": Line(
        situation="The venue comes back with order ids that are lower, or already used.",
        outcome="Lower ids change nothing. Under a used id the tag says whose a row is: the old "
        "order stays as it was, the new one is followed, and entries are frozen with an alert.",
        remark="Here the venue numbers orders, so there is no count of ours to continue. "
        "OrderAudit has one row for an id: the newer order's; the journal has both.",
    ),
    "A12": Line(
        situation="An order is rejected, and the stream does not say why.",
        outcome="The answer's reason is kept and classed permanent or transient; without an answer "
        "the class says that no reason was stated. Nothing is sent again by itself.",
        remark="No list of this venue states a reason, so there is none to search for. A retry is "
        "a new intent, which is the bot's to make.",
    ),
    "B1": Line(
        situation="One trade is told by the stream, again by the stream, and by a read.",
        outcome="Position and result move once; the record shows each delivery.",
    ),
    "B2": Line(
        situation="An order turns a position around in two fills, and both are told again after a "
        "reconnect.",
        outcome="The position stays where it turned to.",
        remark="Whole contracts: from +2 to -2.",
    ),
    "B3": Line(
        situation="A fill comes for an order id that the process has never seen.",
        outcome="It counts at once. An order of ours is recognised by its tag; anything else is "
        "somebody else's: protected, and entries are frozen.",
    ),
    "B4": Line(
        situation="The venue fills four contracts of an order for three.",
        outcome="Four are believed and covered by stops; entries are frozen; a critical alert.",
    ),
    "B5": Line(
        situation="The void of a trade comes before the trade.",
        outcome="It is remembered: the trade has no effect when it comes.",
    ),
    "B6": Line(
        situation="A half-turn trade states no profit and loss.",
        outcome="It is no result of zero and no closed trade; the results are the exchange's.",
    ),
    "B7": Line(
        situation="Two fills of one instant lie at the boundary between two reads of the history.",
        outcome="Both are counted, once, also by the process after.",
        remark="The trade search of this venue has no pages: reads overlap in time.",
    ),
    "B8": Line(
        situation="Eighteen orders fill, the stream tells of four, and its connection looks well.",
        outcome="The reads find the other fourteen, and the connection is never given up.",
    ),
    "B9": Line(
        situation="The market gaps through a stop.",
        outcome="The loss is that of the fill, not of the stop's level.",
        remark="Loss limits, which are not there yet, read this result.",
    ),
    "K1": Line(
        situation="The newest records are cut off.",
        outcome="The signed checkpoint outside the database convicts it.",
    ),
    "K2": Line(
        situation="The database, or the folder of checkpoints, is deleted.",
        outcome="That is tampering, not an empty record.",
    ),
    "K3": Line(
        situation="A stranger gets one order's bundle and the public key, and nothing else.",
        outcome="The order verifies offline.",
    ),
    "K4": Line(
        situation="The content of a record is changed and every hash made to fit again.",
        outcome="It is not what was signed.",
    ),
    "K5": Line(
        situation="The signing key is changed in the middle of the record.",
        outcome="Both parts verify; what the retired key signs afterwards does not.",
    ),
    "K6": Line(
        situation="Every write to the disk takes half a second.",
        outcome="Intents are still durable before they are sent; orders wait; an alarm says so.",
    ),
    "K7": Line(
        situation="A trade is disputed, and only the log is left.",
        outcome="Rules, inputs, decision, venue payloads, fills, stop and clocks are all in it.",
    ),
}
