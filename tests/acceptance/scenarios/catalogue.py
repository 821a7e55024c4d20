"""The situations that a guard has to survive, each told in one line, and played by one test.

A line's id is its section's letter and its number in the section. A test names the line that it
plays with ``@pytest.mark.scenario("A1")``; ``tools/scenario_table.py`` writes lines and tests into
docs/reference/scenarios.md. A new section is a new entry in ``SECTIONS`` and its lines.
"""

from typing import NamedTuple

SECTIONS = {
    "A": "Sending, silence, and sending again",
    "B": "Fills",
    "D": "Protective orders",
    "F": "Orders while the connection is gone",
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
    "D1": Line(
        situation="The market is past the stop of an entry before that stop can work.",
        outcome="The position is closed at once and proven flat; how long it was naked is kept.",
    ),
    "D2": Line(
        situation="A bracket's stop is accepted and does not begin to work.",
        outcome="It covers nothing: the position counts as naked, and a stop of our own works.",
    ),
    "D3": Line(
        situation="The guard comes back to a position whose stop still works.",
        outcome="That stop is taken over by its number; not one more is placed.",
    ),
    "D4": Line(
        situation="The target fills while the guard is cut off, and the venue does not link it to "
        "the stop.",
        outcome="The stop is cancelled before it can open a position; where it has, that position "
        "is taken flat, with an alert.",
    ),
    "D5": Line(
        situation="A stop is moved while the venue refuses calls for being too many.",
        outcome="The old level holds all the time, the move is asked for again, and stands in the "
        "end.",
        remark="The guard moves stops in place, so there is no moment between an old and a new "
        "one. A trailing stop is trailed by the venue.",
    ),
    "D6": Line(
        situation="A contract is added to a protected position, and no stop for it gets through.",
        outcome="Not in place before a stop for all is proven; in time the added contract is "
        "closed, and the others keep their stop.",
    ),
    "D7": Line(
        situation="A stop fills one contract of three.",
        outcome="The stop goes on for two, and the target shrinks to two.",
    ),
    "D8": Line(
        situation="A stop that is good for the day only, under a position that is held overnight.",
        outcome="It never lacks when trading begins again.",
        not_applicable="orders have no time in force here: a stop rests until it fills or is "
        "cancelled. Whatever takes one away, it is put back.",
    ),
    "D9": Line(
        situation="A bot asks for a stop of a position that its stop has just closed.",
        outcome="It is told that the contract is flat, and nothing is placed.",
    ),
    "D10": Line(
        situation="A stop works in a neighbouring contract, or on another account.",
        outcome="Neither covers the position: a stop of its own is placed.",
        remark="A month that is no longer active takes no orders here; the mini of the same index "
        "stands for it.",
    ),
    "D11": Line(
        situation="The account uses Position Brackets, and an entry with its bracket is refused.",
        outcome="Nothing is sent again without protection; an alert says what to switch.",
    ),
    "D12": Line(
        situation="The legs of a closed position still work when the next entry comes.",
        outcome="The entry waits until they are gone; one stop is left, that of the new position.",
    ),
    "D13": Line(
        situation="A stop is asked for on the wrong side of the market.",
        outcome="Refused before anything is sent; the stop that works stays where it is.",
    ),
    "F1": Line(
        situation="Every order of the account is gone, stops included, when the connection is "
        "back.",
        outcome="A stop for the whole position comes first, at its old level; a bot that tries all "
        "the time gets no entry in before it.",
        remark="This venue has no dead-man switch of its own; somebody else's cancels stand for "
        "it.",
    ),
    "F2": Line(
        situation="A resting entry outlives the connection, and the process.",
        outcome="It is never taken for gone: it counts all the while, and is cancelled, as a halt "
        "demands, as soon as the venue can be spoken with.",
        remark="Nothing is cancelled on a disconnect at this venue.",
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
