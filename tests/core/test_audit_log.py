"""The growing tree against the recursive definition, at every size and for every leaf."""

import hashlib
from collections.abc import Sequence

import pytest

from backstop.core import audit_log, merkle
from backstop.core.audit_log import ChunkedTree, Frontier


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(f"leaf {number}".encode()).digest() for number in range(count)]


def root_by_definition(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    left, right = root_by_definition(hashes[:split]), root_by_definition(hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_the_root_is_right_after_every_leaf() -> None:
    frontier, hashes = Frontier(), leaves(130)
    for size, leaf in enumerate(hashes):
        assert (frontier.size, frontier.root()) == (size, root_by_definition(hashes[:size]))
        frontier.append(leaf)
    assert frontier.root() == root_by_definition(hashes)


def test_the_frontier_keeps_one_hash_per_level() -> None:
    frontier = Frontier()
    for leaf in leaves(1023):
        frontier.append(leaf)

    assert len(frontier._peaks) == 10


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 64, 71])
def test_every_leaf_is_proven_across_chunks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "CHUNK_LEAVES", 8)
    hashes = leaves(size)
    tree = ChunkedTree(lambda start, end: hashes[start:end])

    for index in range(size):
        proof = tree.inclusion_proof(index, size)

        assert proof == merkle.inclusion_proof(hashes, index)
        assert merkle.verify_inclusion(
            leaf=hashes[index],
            index=index,
            size=size,
            proof=proof,
            root_hash=root_by_definition(hashes),
        )


def test_whole_chunks_are_read_once_and_the_log_may_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "CHUNK_LEAVES", 8)
    hashes, read = leaves(40), list[tuple[int, int]]()

    def reader(start: int, end: int) -> Sequence[bytes]:
        read.append((start, end))
        return hashes[start:end]

    tree = ChunkedTree(reader)
    tree.inclusion_proof(1, 20)
    read.clear()
    proof = tree.inclusion_proof(38, 40)

    assert proof == merkle.inclusion_proof(hashes, 38)
    assert (0, 8) not in read
    assert (8, 16) not in read


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 0)])
def test_a_leaf_beyond_the_tree_is_refused(index: int, size: int) -> None:
    hashes = leaves(3)

    with pytest.raises(ValueError, match="there is no leaf"):
        ChunkedTree(lambda start, end: hashes[start:end]).inclusion_proof(index, size)


def test_a_log_that_is_shorter_than_its_head_is_refused() -> None:
    hashes = leaves(3)

    with pytest.raises(ValueError, match="no leaves 3 to 4"):
        ChunkedTree(lambda start, end: hashes[start:end]).inclusion_proof(0, 5)
