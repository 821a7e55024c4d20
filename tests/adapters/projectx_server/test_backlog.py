"""What waits for a client: in order and bounded; a slow one gets less of a market, and no lie."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from backstop.adapters.projectx_server import signalr
from backstop.adapters.projectx_server.backlog import Backlog
from backstop.adapters.projectx_server.hub_limits import HubLimits, Misuse
from backstop.adapters.projectx_server.json_rows import encode

MES, MNQ = "CON.F.US.MES.Z26", "CON.F.US.MNQ.Z26"
SLOW = HubLimits(queue_bytes_max=4_000, conflate_above_bytes=200)


def an_event(target: str, contract_id: str, data: object) -> bytes:
    return signalr.invocation(target, encode(contract_id), encode(data))


def a_quote(contract_id: str = MES, **members: Any) -> bytes:
    return an_event("GatewayQuote", contract_id, members)


def drained(backlog: Backlog) -> list[Any]:
    """Take everything out, as a client reads it."""
    text = b""
    while backlog:
        frame = backlog.next_frame()
        assert len(frame) <= signalr.FRAME_BYTES_MAX or frame.count(b"\x1e") == 1
        text += frame
    assert backlog.size_bytes == 0
    return [json.decode(record) for record in text.split(b"\x1e")[:-1]]


def quotes(records: list[Any]) -> list[dict[str, Any]]:
    return [it["arguments"][1] for it in records if it["target"] == "GatewayQuote"]


def test_records_leave_in_order_joined_into_frames() -> None:
    backlog = Backlog(HubLimits())
    for number in range(2_000):
        assert backlog.put(b'{"type":6,"n":%d,"x":"%b"}\x1e' % (number, b"y" * 50))

    assert [record["n"] for record in drained(backlog)] == list(range(2_000))


def test_what_does_not_fit_is_refused_and_what_waits_stays() -> None:
    backlog = Backlog(HubLimits(queue_bytes_max=100))
    assert backlog.put(b"{}\x1e" * 30)
    assert not backlog.put(b"{}\x1e" * 5)

    assert len(drained(backlog)) == 30


def test_a_client_that_keeps_up_gets_every_quote() -> None:
    backlog = Backlog(SLOW)
    for price in range(2):
        assert backlog.put_market(("GatewayQuote", MES), a_quote(lastPrice=price)) is True

    assert [it["lastPrice"] for it in quotes(drained(backlog))] == [0, 1]


def test_quotes_of_a_slow_client_are_merged_member_by_member() -> None:
    backlog = Backlog(SLOW)
    backlog.put(b'{"x":"%b"}\x1e' % (b"y" * 200))
    group = ("GatewayQuote", MES)
    assert backlog.put_market(group, a_quote(bestBid=1, bestAsk=2)) is True
    assert backlog.put_market(group, a_quote(bestBid=Decimal("1.25"))) is Misuse.QUOTE_MERGED
    assert backlog.put_market(group, a_quote(lastPrice=None)) is Misuse.QUOTE_MERGED
    assert backlog.put_market(("GatewayQuote", MNQ), a_quote(MNQ, bestBid=9)) is True
    text = b""
    while backlog:
        text += backlog.next_frame()

    records = text.split(b"\x1e")
    assert records[1] == (
        b'{"type":1,"target":"GatewayQuote","arguments":'
        b'["CON.F.US.MES.Z26",{"bestBid":1.25,"bestAsk":2,"lastPrice":null}]}'
    ), "an absent member stands as it was, and numbers stay the text that they came as"
    assert json.decode(records[2])["arguments"] == [MNQ, {"bestBid": 9}]


def test_a_quote_that_cannot_be_merged_gives_way_to_the_newer_one() -> None:
    backlog = Backlog(SLOW)
    backlog.put(b'{"x":"%b"}\x1e' % (b"y" * 200))
    group = ("GatewayQuote", MES)
    backlog.put_market(group, an_event("GatewayQuote", MES, [1]))
    assert backlog.put_market(group, an_event("GatewayQuote", MES, [2])) is Misuse.QUOTE_MERGED

    assert drained(backlog)[1]["arguments"] == [MES, [2]]


def test_trades_of_a_slow_client_are_left_out_and_depth_waits_until_there_is_no_room() -> None:
    backlog = Backlog(SLOW)
    backlog.put(b'{"x":"%b"}\x1e' % (b"y" * 200))
    trade, depth = (an_event(it, MES, [{"price": 1}]) for it in ("GatewayTrade", "GatewayDepth"))
    assert backlog.put_market(("GatewayTrade", MES), trade) is Misuse.TRADE_LEFT_OUT
    waiting = 0
    while backlog.put_market(("GatewayDepth", MES), depth):
        waiting += 1

    assert len(drained(backlog)) == 1 + waiting
    assert waiting > 10


def test_after_it_has_caught_up_a_client_gets_every_quote_again() -> None:
    backlog = Backlog(SLOW)
    backlog.put(b'{"x":"%b"}\x1e' % (b"y" * 200))
    for price in range(5):
        backlog.put_market(("GatewayQuote", MES), a_quote(lastPrice=price))
    drained(backlog)
    for price in range(2):
        assert backlog.put_market(("GatewayQuote", MES), a_quote(lastPrice=price)) is True

    assert len(quotes(drained(backlog))) == 2


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([MES, MNQ]),
            st.dictionaries(st.sampled_from(["bestBid", "bestAsk", "lastPrice"]), st.integers()),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_however_slow_a_client_is_it_ends_with_the_same_quote(
    events: list[tuple[str, dict[str, int], bool]],
) -> None:
    """It reads a frame now and then; merging leaves out what was, never what is."""
    limits = HubLimits(queue_bytes_max=4_000, conflate_above_bytes=150)
    backlog = Backlog(limits)
    sent: dict[str, dict[str, int]] = {MES: {}, MNQ: {}}
    told: dict[str, dict[str, int]] = {MES: {}, MNQ: {}}

    def read() -> None:
        if backlog:
            for record in backlog.next_frame().split(b"\x1e")[:-1]:
                contract_id, members = json.decode(record)["arguments"]
                told[contract_id].update(members)

    for contract_id, members, reads in events:
        sent[contract_id].update(members)
        became = backlog.put_market(("GatewayQuote", contract_id), a_quote(contract_id, **members))
        assert became is not False
        assert backlog.size_bytes <= limits.queue_bytes_max
        if reads:
            read()
    while backlog:
        read()
    assert told == sent
