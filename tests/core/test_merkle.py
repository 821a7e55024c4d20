"""RFC 6962 trees against known vectors, against the recursive definition, and against lies."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.core import merkle

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The eight leaves that the implementations of Certificate Transparency test with."""

KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(min_value=1, max_value=70)


def hashes(size: int) -> list[bytes]:
    return [merkle.leaf_hash(str(index).encode()) for index in range(size)]


def recursive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(recursive_root(leaves[:split]), recursive_root(leaves[split:]))


@pytest.mark.parametrize("size", range(9))
def test_the_root_is_the_known_one(size: int) -> None:
    found = merkle.root(merkle.leaf_hash(leaf) for leaf in LEAVES[:size])

    assert found.hex() == KNOWN_ROOTS[size]


@given(size=st.integers(min_value=0, max_value=70))
def test_the_root_follows_the_recursive_definition(size: int) -> None:
    assert merkle.root(hashes(size)) == recursive_root(hashes(size))


def test_a_known_inclusion_proof_comes_out() -> None:
    proof = merkle.inclusion_proof([merkle.leaf_hash(leaf) for leaf in LEAVES], 5)

    assert [node.hex() for node in proof] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(data=st.data(), size=sizes)
def test_every_leaf_can_be_proven_at_its_place_and_nowhere_else(
    data: st.DataObject, size: int
) -> None:
    index = data.draw(st.integers(0, size - 1))
    elsewhere = data.draw(st.integers(0, size - 1))
    leaves = hashes(size)
    proof = merkle.inclusion_proof(leaves, index)

    assert merkle.verify_inclusion(
        leaf=leaves[index], index=index, size=size, proof=proof, root_hash=merkle.root(leaves)
    )
    assert merkle.verify_inclusion(
        leaf=leaves[index],
        index=elsewhere,
        size=size,
        proof=proof,
        root_hash=merkle.root(leaves),
    ) is (elsewhere == index)


@given(data=st.data(), size=sizes)
def test_a_changed_leaf_or_proof_proves_nothing(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = hashes(size)
    proof = merkle.inclusion_proof(leaves, index)
    forged = merkle.leaf_hash(b"forged")
    lies = [
        (forged, proof),
        (leaves[index], (*proof, forged)),
        *((leaves[index], (*proof[:at], forged, *proof[at + 1 :])) for at in range(len(proof))),
        *((leaves[index], proof[:at]) for at in range(len(proof))),
    ]

    assert not any(
        merkle.verify_inclusion(
            leaf=leaf, index=index, size=size, proof=lie, root_hash=merkle.root(leaves)
        )
        for leaf, lie in lies
    )


@given(data=st.data(), second=sizes)
def test_every_earlier_tree_is_a_provable_prefix(data: st.DataObject, second: int) -> None:
    first = data.draw(st.integers(1, second))
    leaves = hashes(second)

    assert merkle.verify_consistency(
        first_size=first,
        second_size=second,
        first_root=merkle.root(leaves[:first]),
        second_root=merkle.root(leaves),
        proof=merkle.consistency_proof(leaves, first),
    )


@given(data=st.data(), second=st.integers(2, 70))
def test_a_rewritten_past_is_not_a_prefix(data: st.DataObject, second: int) -> None:
    """Whichever old record was changed, no proof of the new log fits the old root."""
    first = data.draw(st.integers(1, second - 1))
    changed = data.draw(st.integers(0, first - 1))
    honest = hashes(second)
    rewritten = [*honest]
    rewritten[changed] = merkle.leaf_hash(b"rewritten")

    assert not merkle.verify_consistency(
        first_size=first,
        second_size=second,
        first_root=merkle.root(honest[:first]),
        second_root=merkle.root(rewritten),
        proof=merkle.consistency_proof(rewritten, first),
    )


@given(data=st.data(), second=st.integers(2, 70))
def test_a_cut_or_padded_consistency_proof_proves_nothing(data: st.DataObject, second: int) -> None:
    first = data.draw(st.integers(1, second - 1))
    leaves = hashes(second)
    proof = merkle.consistency_proof(leaves, first)
    lies = [(*proof, merkle.leaf_hash(b"more")), *(proof[:at] for at in range(len(proof)))]

    assert not any(
        merkle.verify_consistency(
            first_size=first,
            second_size=second,
            first_root=merkle.root(leaves[:first]),
            second_root=merkle.root(leaves),
            proof=lie,
        )
        for lie in lies
    )


def test_a_tree_is_consistent_with_itself_by_an_empty_proof_only() -> None:
    leaves = hashes(5)
    whole = merkle.root(leaves)

    def check(proof: tuple[bytes, ...], second_root: bytes) -> bool:
        return merkle.verify_consistency(
            first_size=5, second_size=5, first_root=whole, second_root=second_root, proof=proof
        )

    assert merkle.consistency_proof(leaves, 5) == ()
    assert check((), whole)
    assert not check((whole,), whole)
    assert not check((), merkle.EMPTY_ROOT)


def test_a_shrunken_or_empty_log_has_no_consistency_proof() -> None:
    with pytest.raises(ValueError, match="3 leaves has no prefix of 4"):
        merkle.consistency_proof(hashes(3), 4)
    with pytest.raises(ValueError, match="no prefix of 0"):
        merkle.consistency_proof(hashes(3), 0)
    assert not merkle.verify_consistency(
        first_size=4,
        second_size=3,
        first_root=merkle.root(hashes(4)),
        second_root=merkle.root(hashes(3)),
        proof=(),
    )


def test_a_leaf_outside_the_tree_has_no_proof() -> None:
    with pytest.raises(ValueError, match="3 leaves; there is no leaf 3"):
        merkle.inclusion_proof(hashes(3), 3)
    assert not merkle.verify_inclusion(
        leaf=hashes(1)[0], index=1, size=1, proof=(), root_hash=merkle.root(hashes(1))
    )
