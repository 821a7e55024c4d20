"""The audit log as a growing Merkle tree: its root after every record, and proofs out of it.

Two views of the tree of RFC 6962 that ``merkle`` defines. ``Frontier`` is for the writer: it takes
one leaf hash after the other and keeps one hash per level. ``ChunkedTree`` is for readers: it gives
inclusion proofs out of a log of any length and keeps one hash per CHUNK_LEAVES leaves.
"""

from collections.abc import Callable, Sequence

from backstop.core import merkle

CHUNK_LEAVES = 256
"""Leaves of one perfect subtree that readers keep as a single hash; a power of two."""

LeafReader = Callable[[int, int], Sequence[bytes]]
"""Returns the leaf hashes of the places ``start`` (from 0) to ``end``, the latter excluded."""


class Frontier:
    """The right edge of the tree: what is needed to add leaves and to tell the root.

    Attributes:
        size: leaves so far.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, *, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Begin with an empty tree, or go on with one of which ``peaks`` were kept.

        Raises:
            ValueError: a tree of this size has another number of peaks.
        """
        if size < 0 or len(peaks) != size.bit_count():
            raise ValueError(f"A tree of {size} leaves does not have {len(peaks)} peaks.")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The roots of the perfect subtrees, from left to right: enough to go on with."""
        return tuple(self._peaks)

    def append(self, leaf_hash: bytes) -> None:
        """Add the hash of the next leaf."""
        # Perfect subtrees from left to right: a new leaf merges with as many of them as its
        # number has trailing zero bits, like a carry.
        self.size += 1
        node, carry = leaf_hash, self.size
        while carry % 2 == 0:
            node = merkle.node_hash(self._peaks.pop(), node)
            carry //= 2
        self._peaks.append(node)

    def root(self) -> bytes:
        """Return the root of the tree as it is."""
        if not self._peaks:
            return merkle.EMPTY_ROOT
        whole = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            whole = merkle.node_hash(peak, whole)
        return whole


class ChunkedTree:
    """Inclusion proofs out of a log that only grows; whole chunks are read and hashed once."""

    def __init__(self, read_leaves: LeafReader) -> None:
        self._read_leaves = read_leaves
        self._whole_chunks: list[bytes] = []

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the siblings that lead from leaf ``index`` (from 0) to the root, lowest first.

        RFC 6962 splits every tree at a power of two, so one with more leaves than a chunk is a
        tree over its chunks, of which only the last may be partly filled.

        Raises:
            ValueError: a tree of ``size`` leaves has no such leaf, or the log is shorter.
        """
        if not 0 <= index < size:
            raise ValueError(f"The tree has {size} leaves; there is no leaf {index}.")
        chunk, place = divmod(index, CHUNK_LEAVES)
        start = chunk * CHUNK_LEAVES
        leaves = self._leaves(start, min(start + CHUNK_LEAVES, size))
        inside = merkle.inclusion_proof(leaves, place)
        return inside + merkle.inclusion_proof(self._chunk_roots(size), chunk)

    def _chunk_roots(self, size: int) -> list[bytes]:
        whole, rest = divmod(size, CHUNK_LEAVES)
        while len(self._whole_chunks) < whole:
            start = len(self._whole_chunks) * CHUNK_LEAVES
            self._whole_chunks.append(merkle.root(self._leaves(start, start + CHUNK_LEAVES)))
        roots = self._whole_chunks[:whole]
        if rest:
            roots.append(merkle.root(self._leaves(size - rest, size)))
        return roots

    def _leaves(self, start: int, end: int) -> Sequence[bytes]:
        leaves = self._read_leaves(start, end)
        if len(leaves) != end - start:
            raise ValueError(f"The log has no leaves {start + len(leaves)} to {end - 1}.")
        return leaves
