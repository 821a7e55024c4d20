"""Collections that answer by contract say what a walk over all of them would say."""

from hypothesis import given
from hypothesis import strategies as st

from backstop.core.by_contract import LiveOrders, Positions
from backstop.core.positions import PositionView
from backstop.core.protection_record import Episode, ProtectionBook, ProtectionRecord

CONTRACTS = ("CON.A", "CON.B", "CON.C")

Change = tuple[str, int, str]
changes = st.lists(
    st.tuples(
        st.sampled_from(("set", "pop", "del", "newest", "default", "update", "clear")),
        st.integers(1, 5),
        st.sampled_from(CONTRACTS),
    ),
    max_size=30,
)


def _changed(live: LiveOrders[int], change: Change) -> None:
    what, key, contract_id = change
    match what:
        case "set":
            live[key] = contract_id
        case "pop":
            live.pop(key, None)
        case "del" if key in live:
            del live[key]
        case "newest" if live:
            live.popitem()
        case "default":
            live.setdefault(key, contract_id)
        case "update":
            live.update({key: contract_id})
        case "clear":
            live.clear()
        case _:
            pass


@given(changes)
def test_live_orders_of_a_contract_are_those_that_a_walk_finds_in_its_order(
    made: list[Change],
) -> None:
    live: LiveOrders[int] = LiveOrders()
    for change in made:
        _changed(live, change)
        for contract_id in CONTRACTS:
            walked = [key for key, held in live.items() if held == contract_id]
            assert list(live.of(contract_id)) == walked
    again = LiveOrders(live)
    assert [list(again.of(it)) for it in CONTRACTS] == [list(live.of(it)) for it in CONTRACTS]


@given(st.lists(st.tuples(st.sampled_from(CONTRACTS), st.integers(-1, 1), st.integers(-1, 1))))
def test_held_are_the_contracts_in_which_rows_or_trades_say_that_something_is_held(
    made: list[tuple[str, int, int]],
) -> None:
    positions = Positions()
    for contract_id, quantity, traded in made:
        positions[contract_id] = PositionView(
            contract_id=contract_id, quantity=quantity, traded=traded
        )
        held = {name for name, it in positions.items() if it.quantity or it.ledger}
        assert positions.held == held == Positions(positions).held
    positions.clear()
    assert not positions.held


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CONTRACTS),
            st.sampled_from([0, 5]),
            st.booleans(),
            st.sampled_from([0, 7]),
        )
    ),
)
def test_records_that_lack_a_stop_are_those_that_a_walk_finds(
    made: list[tuple[str, int, bool, int]],
) -> None:
    protection = ProtectionBook()
    for contract_id, wanted_ns, is_known, doubted_ns in made:
        episode = Episode(wanted_ns=wanted_ns, bare_since_ns=wanted_ns if is_known else 0)
        protection.records[contract_id] = ProtectionRecord(
            contract_id=contract_id, episode=episode, doubted_ns=doubted_ns
        )
        records = protection.records.values()
        assert protection.is_urgent == any(it.episode.wanted_ns or it.doubted_ns for it in records)
        assert protection.known_bare == any(it.episode.bare_since_ns for it in records)
    protection.records.clear()
    assert not protection.is_urgent
