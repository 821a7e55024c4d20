"""The Merkle tree of RFC 6962: roots, inclusion proofs, consistency proofs, and their checks.

A tree stands for the first ``size`` leaves of an append-only log. All functions take leaf hashes,
not leaves; every hash is the 32 bytes of SHA-256. Leaves and inner nodes are hashed with different
first bytes, so that an inner node can never be passed off as a leaf.

Source: RFC 6962 section 2.1; the checks follow RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Iterable, Sequence

HASH_SIZE = 32
"""Bytes of SHA-256."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


LEAF_BYTE, NODE_BYTE = b"\x00", b"\x01"
"""What the hash of a leaf, and of an inner node, begins with."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of one leaf: SHA-256 of a zero byte and the leaf."""
    return hashlib.sha256(LEAF_BYTE + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256 of a one byte and both children."""
    return hashlib.sha256(NODE_BYTE + left + right).digest()


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root over ``leaf_hashes`` in order; needs memory for one hash per tree level."""
    # Perfect subtrees from left to right, each smaller than the one before it: a new leaf merges
    # with as many of them as its number has trailing zero bits, like a carry.
    peaks: list[bytes] = []
    for size, leaf in enumerate(leaf_hashes, start=1):
        node, carry = leaf, size
        while carry % 2 == 0:
            node = node_hash(peaks.pop(), node)
            carry //= 2
        peaks.append(node)
    if not peaks:
        return EMPTY_ROOT
    whole = peaks.pop()
    while peaks:
        whole = node_hash(peaks.pop(), whole)
    return whole


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the siblings that lead from leaf ``index`` (from 0) to the root, lowest first.

    Raises:
        ValueError: there is no such leaf.
    """
    size = len(leaf_hashes)
    if not 0 <= index < size:
        raise ValueError(f"The tree has {size} leaves; there is no leaf {index}.")
    siblings: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append(root(leaf_hashes[middle:end]))
            end = middle
        else:
            siblings.append(root(leaf_hashes[start:middle]))
            start = middle
    return tuple(reversed(siblings))


def verify_inclusion(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes
) -> bool:
    """Tell whether ``proof`` shows leaf hash ``leaf`` at ``index`` of the tree of ``size`` leaves.

    A proof that is too long, too short or for another place is simply not a proof.
    """
    if not 0 <= index < size:
        return False
    node = leaf
    position, last = index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if position % 2 == 1 or position == last:
            node = node_hash(sibling, node)
            while position % 2 == 0 and position != 0:
                position //= 2
                last //= 2
        else:
            node = node_hash(node, sibling)
        position //= 2
        last //= 2
    return last == 0 and node == root_hash


def consistency_proof(leaf_hashes: Sequence[bytes], first_size: int) -> tuple[bytes, ...]:
    """Return the nodes that show the tree of ``first_size`` leaves to be a prefix of this one.

    Raises:
        ValueError: this tree is smaller than ``first_size``, or that is zero: a tree without
            leaves is a prefix of everything and needs no proof.
    """
    size = len(leaf_hashes)
    if not 0 < first_size <= size:
        raise ValueError(f"A tree of {size} leaves has no prefix of {first_size} to prove.")
    nodes: list[bytes] = []
    start, end = 0, size
    while first_size != end:
        middle = start + _split(end - start)
        if first_size <= middle:
            nodes.append(root(leaf_hashes[middle:end]))
            end = middle
        else:
            nodes.append(root(leaf_hashes[start:middle]))
            start = middle
    if start > 0:
        # The old root is a right-hand subtree here: the checker cannot know its hash yet.
        nodes.append(root(leaf_hashes[start:end]))
    return tuple(reversed(nodes))


def verify_consistency(
    *,
    first_size: int,
    second_size: int,
    first_root: bytes,
    second_root: bytes,
    proof: Sequence[bytes],
) -> bool:
    """Tell whether ``proof`` shows the second tree to begin with exactly the first one."""
    if not 0 < first_size <= second_size:
        return False
    if first_size == second_size:
        return not proof and first_root == second_root
    nodes = list(proof)
    if first_size & (first_size - 1) == 0:
        # A power of two is a whole left subtree: its root is where the proof begins.
        nodes.insert(0, first_root)
    if not nodes:
        return False
    position, last = first_size - 1, second_size - 1
    while position % 2 == 1:
        position //= 2
        last //= 2
    first_node = second_node = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if position % 2 == 1 or position == last:
            first_node = node_hash(sibling, first_node)
            second_node = node_hash(sibling, second_node)
            while position % 2 == 0 and position != 0:
                position //= 2
                last //= 2
        else:
            second_node = node_hash(second_node, sibling)
        position //= 2
        last //= 2
    return last == 0 and first_node == first_root and second_node == second_root


def _split(size: int) -> int:
    """Return the largest power of two below ``size`` (at least 2): the leaves of the left half."""
    return 1 << ((size - 1).bit_length() - 1)
