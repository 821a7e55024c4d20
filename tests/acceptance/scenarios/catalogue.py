"""The situations that a guard has to survive, each told in one line, and played by one test.

A line's id is its section's letter and its number in the section. A test names the line that it
plays with ``@pytest.mark.scenario("A1")``; ``tools/scenario_table.py`` writes lines and tests into
docs/reference/scenarios.md. A new section is a new entry in ``SECTIONS`` and its lines.
"""

from typing import NamedTuple

SECTIONS = {
    "A": "Sending, silence, and sending again",
    "B": "Fills",
    "C": "The record against the venue",
    "D": "Protective orders",
    "E": "The kill switch, and being taken flat",
    "F": "Orders while the connection is gone",
    "G": "Freezes, stale data, and who notices",
    "H": "State, crashes and what is left of them",
    "I": "Before an order, and what an account may lose",
    "J": "Positions that are one bet together",
    "K": "The audit trail",
    "L": "Credentials and time",
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
        outcome="All six stay UNKNOWN, count and are shown; entries are refused, and wait for a "
        "person even then; once the network is back all six are ours and filled, and nothing "
        "counts as somebody else's.",
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
        remark="The daily loss limit reads this result.",
    ),
    "C1": Line(
        situation="At the start the venue holds three contracts, the record two, and no trade "
        "explains the third.",
        outcome="Three are believed and covered; the adjustment is recorded with its evidence; "
        "entries are frozen and a person is told. The trade, when it comes, takes its place.",
    ),
    "C2": Line(
        situation="Positions cannot be read, and are missing from the first read that works.",
        outcome="Nothing is concluded: no fill is made up, no stop is cancelled, and the position "
        "is STALE until it is read again.",
    ),
    "C3": Line(
        situation="A read was taken before the last fill and is heard after it.",
        outcome="It makes no difference; the account is read again.",
    ),
    "C4": Line(
        situation="A person adds three contracts to a bot's position.",
        outcome="All four are covered and count; entries are frozen until a person resumes.",
    ),
    "C5": Line(
        situation="Orders with the tags of another program appear three times.",
        outcome="A second trader is suspected and named by its prefix; entries are frozen.",
    ),
    "C6": Line(
        situation="A fill was counted from reads; the trade itself comes later.",
        outcome="It takes the place of what was counted: the position moves by nothing.",
    ),
    "C7": Line(
        situation="The guard dies in the middle of an order that turns the position around.",
        outcome="The new side has its stop, the old stop is gone, and what is left of the order is "
        "known.",
    ),
    "C8": Line(
        situation="The venue tells a closed position as a row of size zero, or as no row.",
        outcome="Neither alone proves flat; two fresh reads do.",
    ),
    "C9": Line(
        situation="A position is still held when its contract month ends.",
        outcome="It is closed before the cut-off. In a month that takes no orders any more no stop "
        "is tried again and again, the close comes with growing pauses, it is never told as flat, "
        "and a person is told until he acknowledges.",
    ),
    "C10": Line(
        situation="An order is missing from one read of the working orders.",
        outcome="It goes on; one that is really gone is found out by its number.",
    ),
    "C11": Line(
        situation="The account is not that of the record, or not one of the venue's.",
        outcome="The guard does not start, and nothing is sent.",
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
    "E1": Line(
        situation="A close fills a part and rests.",
        outcome="What rests is cancelled, the position read again and the remainder closed; never "
        "more is sold than was held.",
    ),
    "E2": Line(
        situation="The stop fires, in whole or in part, while the close of its position is on its "
        "way.",
        outcome="The position ends at zero. Where the close came too late and opened the other "
        "side, that is undone and recorded.",
    ),
    "E3": Line(
        situation="The market is halted when the position is to be closed.",
        outcome="The stop stays, a person is told at once, and the close is repeated until trading "
        "goes on.",
    ),
    "E4": Line(
        situation="The network is away when the kill switch is pressed.",
        outcome="The latch is durable; the guard keeps trying, and so does a second path with a "
        "session of its own; after the break closing comes before everything else.",
    ),
    "E5": Line(
        situation="A strategy blocks the event loop, and the market falls through the daily loss "
        "limit meanwhile.",
        outcome="The watchdog takes the account flat from its own process, without the loop; the "
        "guard that comes after it finds the day lost, and refuses entries for that too.",
        remark="The limit is judged in the guard. While its loop stands still, what counts is "
        "that nobody looks after an open position: the watchdog does not wait for a loss.",
    ),
    "E6": Line(
        situation="The venue refuses the close, and shows the position all the time.",
        outcome="It is never told as flat, the stop stays, and nobody can resume.",
    ),
    "E7": Line(
        situation="A position is held in a symbol that no setting names.",
        outcome="Taking the account flat takes it flat too.",
    ),
    "E8": Line(
        situation="The process is started again after a liquidation.",
        outcome="The latch stands; entries are refused; only a name and a reason lift it.",
    ),
    "E9": Line(
        situation="Trading is halted, and a close is asked for afterwards.",
        outcome="What reduces passes; the same door refuses what adds.",
    ),
    "E10": Line(
        situation="The guard is stopped in good order with a position.",
        outcome="The stop stays at the venue; the next guard takes it over.",
    ),
    "E11": Line(
        situation="A bot's own code objects to an exit.",
        outcome="The exit goes on.",
        not_applicable="bots have no say in exits: there is no callback to object with.",
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
    "G1": Line(
        situation="The quotes of one contract stop, while the connection and the others go on.",
        outcome="Its entries are refused and it is subscribed again; its exits pass, and the other "
        "contract is traded as ever.",
    ),
    "G2": Line(
        situation="The user stream falls silent under an order, while the market stream goes on.",
        outcome="The order is read after half a second, not at the next audit.",
    ),
    "G3": Line(
        situation="The event loop stands still while another thread goes on sending pulses.",
        outcome="The guard is found FROZEN, its stacks are kept, and another one takes over.",
    ),
    "G4": Line(
        situation="The event loop stalls for less than the limit.",
        outcome="Nothing is done; the longest stall is a figure.",
    ),
    "G5": Line(
        situation="The watchdog is killed.",
        outcome="Entries are refused with an alert, another watchdog is started, and then they "
        "pass again.",
    ),
    "G6": Line(
        situation="Both connections are well, and for a long time no message comes.",
        outcome="Within seconds entries are refused and the silent connection is built anew.",
    ),
    "H1": Line(
        situation="kill -9 at named points of the life of an order.",
        outcome="Each order is at the venue once, fills count once, stops equal the position, and "
        "no intent is lost.",
    ),
    "H2": Line(
        situation="The newest file of the state, or the end of the journal, is torn.",
        outcome="What is whole is used, what is torn is named and kept; earlier records are "
        "intact.",
    ),
    "H3": Line(
        situation="The disk answers one fsync with an error.",
        outcome="Entries stop at once; what reduces goes on; what was not written is written anew "
        "before entries pass again, and is not taken for written because a later fsync worked.",
    ),
    "H4": Line(
        situation="A second process on another host.",
        outcome="Only one of them sends.",
        not_applicable="there is one host: on it a lock of the account lets one process send.",
    ),
    "H5": Line(
        situation="The store of the lease cannot be reached.",
        outcome="No entries before the lease ends.",
        not_applicable="there are no leases yet: the right to send is a lock on one host.",
    ),
    "H6": Line(
        situation="No leader is elected.",
        outcome="An alarm; every node only reads.",
        not_applicable="there is one node.",
    ),
    "H7": Line(
        situation="The wall clock is set back by minutes between two processes.",
        outcome="Order follows sequence numbers, the history is read without a gap, and no timer "
        "is late.",
    ),
    "H8": Line(
        situation="One of several nodes runs an old program.",
        outcome="The mixed set does not trade.",
        not_applicable="there is one node.",
    ),
    "H9": Line(
        situation="The process did not end in good order; and once it did.",
        outcome="Orders, fills, positions and stops are read before the first entry, both times.",
    ),
    "I1": Line(
        situation="A notional stands in the field of the quantity.",
        outcome="It is refused by a cap that no setting lifts.",
    ),
    "I2": Line(
        situation="A position, working orders and one of unknown fate add up to the limit.",
        outcome="One contract more is refused; an exit passes; one beyond the position does not.",
        remark="MAX_POSITION counts in minis: 6 micros are 0.6.",
    ),
    "I3": Line(
        situation="More entries within a second than are allowed.",
        outcome="The first beyond it is refused; an exit in the same second passes.",
    ),
    "I4": Line(
        situation="Realised losses, open ones and fees reach the limit of the day together.",
        outcome="Positions are closed and entries cancelled; it lifts with the next trading day.",
    ),
    "I5": Line(
        situation="The account falls to its drawdown limit, and the guard is started again.",
        outcome="It is still tripped, and its floor is the same.",
    ),
    "I6": Line(
        situation="Best closes of different heights, a peak within a day, an open loss.",
        outcome="The floor follows closes only, locks at the starting balance, and an equity below "
        "it is a breach.",
    ),
    "I7": Line(
        situation="What an order could lose with slippage and fees, and what is pending, is more "
        "than is left.",
        outcome="It is refused with both numbers and the largest quantity that passes.",
    ),
    "I8": Line(
        situation="The mini is ordered where the micro was meant.",
        outcome="It is not on the list.",
    ),
    "I9": Line(
        situation="A buy would meet our own resting sell.",
        outcome="It is not sent.",
    ),
    "I10": Line(
        situation="The record takes nothing any more.",
        outcome="Entries are denied; an exit goes out.",
    ),
    "I11": Line(
        situation="Two strategies send at once what only fits alone.",
        outcome="Exactly one passes; a cancel gives its room back, and so does a no of the venue.",
    ),
    "J1": Line(
        situation="A third index that moves with the two that are held, one contract too many.",
        outcome="It is refused, and said how many fit; once one of the two is flat it passes.",
    ),
    "J2": Line(
        situation="One index is held against another that moves with it.",
        outcome="The bet is small, and the limit on gross still binds; what rests hedges nothing.",
    ),
    "J3": Line(
        situation="The last bar of both is three trading days old, there are too few, or one of "
        "the two does not move.",
        outcome="They count as one bet on the same side, and as no hedge on opposite ones.",
        remark="Beside these the same with a measured correlation of 0.2, which passes.",
    ),
    "J4": Line(
        situation="A correlation jumps from 0.3 to 0.95 while both are held.",
        outcome="A person is told once; what adds is refused, what reduces passes; nothing is "
        "closed unless EXPOSURE_BREACH_LIQUIDATES says so.",
    ),
    "J5": Line(
        situation="Something that moves the other way is held as a hedge, to hold more in all.",
        outcome="It takes off half of what it would, and nothing of the sum of one side, which is "
        "what stands if everything moves together for once.",
        remark="What one side and both may come to is a setting: MAX_DIRECTIONAL_SHARE and "
        "MAX_GROSS_EXPOSURE.",
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
    "L1": Line(
        situation="The key is revoked while a contract is open: every token is refused, and so is "
        "the next login.",
        outcome="The second no pages a person at once and blocks entries; the stop at the venue "
        "stays; the spare key is tried, and the exit leaves with it.",
    ),
    "L2": Line(
        situation="A key file can be read by everybody, or a secret stands in the environment of "
        "a process that fails.",
        outcome="The start is refused with the file's name and mode; logs, dumps, records, answers "
        "and process listings have stars or nothing where a secret could stand.",
    ),
    "L3": Line(
        situation="Our clock and the venue's are farther apart than is allowed, or ours steps.",
        outcome="Entries are blocked and exits pass; the step is on record, and no deadline moves.",
    ),
}
