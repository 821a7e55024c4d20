"""What reads alone added to a position and took from it, one by one, and when.

A trade that is told late has been counted by a read that was made after it, and by no other: what
older reads had found, and nothing ever explained, must not swallow it.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

MOVES_KEPT: Final = 16
"""Of one position. Of more nobody knows any longer which reads counted what."""


class ReadMove(Struct, frozen=True, kw_only=True):
    """Contracts that reads added or took away.

    Attributes:
        contracts: signed.
        latest_us: when those reads were made, at the latest, in the venue's time.
    """

    contracts: int
    latest_us: int


Moves = tuple[ReadMove, ...]


def moves_with(moves: Moves, delta: int, given_back: int, *, latest_us: int) -> Moves:
    """Return them after reads that move a position by ``delta``, signed; 0: they do not.

    ``given_back`` contracts of it are no fill: reads had taken them, the newest ones first.
    """
    if not delta:
        return moves
    sign = 1 if delta > 0 else -1
    left = _less(moves[::-1], -sign * given_back)[::-1]
    added = delta - sign * given_back
    if added:
        left = (*left, ReadMove(contracts=added, latest_us=latest_us))
    return left[-MOVES_KEPT:]


def moves_without(moves: Moves, explained: int, *, traded_utc_us: int) -> Moves:
    """Return them after a trade that explains so many contracts, signed.

    The first reads after the trade have counted it.
    """
    later = tuple(it for it in moves if it.latest_us >= traded_utc_us)
    earlier = tuple(it for it in moves if it.latest_us < traded_utc_us)
    left = _less((*later, *earlier[::-1]), explained)
    return tuple(sorted(left, key=lambda it: it.latest_us))


def _less(moves: Moves, contracts: int) -> Moves:
    """Return them, in their order, less so many contracts of one sign."""
    left: list[ReadMove] = []
    for move in moves:
        if move.contracts * contracts <= 0:
            left.append(move)
            continue
        gone = min(abs(move.contracts), abs(contracts))
        signed = gone if contracts > 0 else -gone
        contracts -= signed
        if move.contracts != signed:
            left.append(replace(move, contracts=move.contracts - signed))
    return tuple(left)
