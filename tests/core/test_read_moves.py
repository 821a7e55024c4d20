"""What reads alone have moved is kept one by one, and bounded."""

from hypothesis import given
from hypothesis import strategies as st

from backstop.core.read_moves import MOVES_KEPT, Moves, ReadMove, moves_with, moves_without


def moves_of(*moves: tuple[int, int]) -> Moves:
    return tuple(ReadMove(contracts=contracts, latest_us=us) for contracts, us in moves)


def test_what_is_given_back_leaves_the_newest_that_was_taken() -> None:
    moves = moves_of((-2, 10), (-3, 20))

    assert moves_with(moves, 4, 4, latest_us=30) == moves_of((-1, 10))
    assert moves_with(moves, 4, 1, latest_us=30) == moves_of((-2, 10), (-2, 20), (3, 30))


def test_a_trade_takes_from_the_first_reads_after_it_and_then_from_the_newest_before() -> None:
    moves = moves_of((2, 10), (2, 20), (2, 30))

    assert moves_without(moves, 3, traded_utc_us=15) == moves_of((2, 10), (1, 30))
    assert moves_without(moves, 3, traded_utc_us=25) == moves_of((2, 10), (1, 20))


def test_no_more_than_some_are_kept() -> None:
    moves: Moves = ()
    for us in range(3 * MOVES_KEPT):
        moves = moves_with(moves, 1, 0, latest_us=us)

    assert len(moves) == MOVES_KEPT
    assert moves[-1].latest_us == 3 * MOVES_KEPT - 1


@given(
    st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.integers(0, 50)), max_size=8),
    st.integers(-5, 5),
    st.integers(0, 60),
)
def test_what_a_trade_explains_is_gone_and_nothing_else(
    given_moves: list[tuple[int, int]], explained: int, traded_us: int
) -> None:
    moves = moves_of(*sorted(given_moves, key=lambda it: it[1]))
    of_sign = sum(abs(it.contracts) for it in moves if it.contracts * explained > 0)
    left = moves_without(moves, explained, traded_utc_us=traded_us)

    before, after = (sum(it.contracts for it in some) for some in (moves, left))
    assert abs(before - after) == min(abs(explained), of_sign)
    assert all(it.contracts for it in left)
