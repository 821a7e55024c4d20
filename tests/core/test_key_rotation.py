"""A chain of signing keys: each change signed by both, and nothing else believed."""

import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from backstop.core.key_rotation import (
    KeyChainError,
    Rotation,
    key_chain,
    key_name,
    payload,
    signed_bytes,
)

ACCOUNT = "31004502"


def a_key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public(seed: int) -> bytes:
    return a_key(seed).public_key().public_bytes_raw()


def check(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def a_record(
    seq: int,
    old: int,
    new: int,
    *,
    account: str = ACCOUNT,
    old_signer: int | None = None,
    new_signer: int | None = None,
) -> tuple[int, bytes]:
    rotation = Rotation(
        account=account, seq=seq, utc_us=seq, old_key=public(old), new_key=public(new)
    )
    message = signed_bytes(rotation)
    return seq, payload(
        rotation,
        old_signature=a_key(old_signer or old).sign(message),
        new_signature=a_key(new_signer or new).sign(message),
    )


def test_a_log_without_rotations_has_the_trusted_key_alone() -> None:
    chain = key_chain([], newest=public(1), account=ACCOUNT, check=check)

    assert chain.key_at(0) == chain.key_at(10**9) == public(1)


def test_each_record_belongs_to_the_key_of_its_time() -> None:
    records = [a_record(500, 1, 2), a_record(900, 2, 3)]
    chain = key_chain(records, newest=public(3), account=ACCOUNT, check=check)

    assert [chain.key_at(seq) for seq in (0, 499, 500, 899, 900, 5000)] == [
        public(1),
        public(1),
        public(2),
        public(2),
        public(3),
        public(3),
    ]


@pytest.mark.parametrize(
    ("records", "newest", "seq", "fault"),
    [
        ([a_record(5, 1, 2, old_signer=3)], 2, 5, "that it retires did not sign"),
        ([a_record(5, 1, 2, new_signer=3)], 2, 5, "that it brings in did not sign"),
        ([a_record(5, 1, 2)], 3, 5, "not to the trusted key"),
        ([a_record(5, 1, 2)], 1, 5, "not to the trusted key"),
        ([a_record(5, 1, 2), a_record(9, 1, 3)], 3, 9, "was not in use"),
        ([a_record(5, 1, 2, account="4711")], 2, 5, "another record, account or key"),
        ([(6, a_record(5, 1, 2)[1])], 2, 6, "another record, account or key"),
        ([(5, b"{}")], 2, 5, "no rotation"),
        ([(5, b"\xff")], 2, 5, "no rotation"),
    ],
)
def test_a_chain_that_does_not_hold_names_its_record(
    records: list[tuple[int, bytes]], newest: int, seq: int, fault: str
) -> None:
    with pytest.raises(KeyChainError, match=fault) as caught:
        key_chain(records, newest=public(newest), account=ACCOUNT, check=check)

    assert caught.value.seq == seq


def test_a_rotation_is_bound_to_every_word_of_it() -> None:
    seq, raw = a_record(5, 1, 2)
    held = json.loads(raw)
    for name in held["rotation"]:
        changed = json.loads(raw)
        value = changed["rotation"][name]
        changed["rotation"][name] = value + 1 if isinstance(value, int) else value + "x"
        forged = json.dumps(changed, separators=(",", ":"), sort_keys=True).encode()

        with pytest.raises(KeyChainError):
            key_chain([(seq, forged)], newest=public(2), account=ACCOUNT, check=check)


def test_keys_are_named_as_proofs_name_them() -> None:
    assert len(key_name(public(1))) == 32
    assert key_name(public(1)) != key_name(public(2))
