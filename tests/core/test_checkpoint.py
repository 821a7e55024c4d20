"""Checkpoints against a second reader, written here from the text of the two specifications."""

import base64
import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from backstop.core.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    CheckpointError,
    key_hash,
    log_origin,
    note_of,
    note_text,
    parse,
    signature_identity,
    verifier_key,
)

ROOT = hashlib.sha256(b"a root").digest()
HEAD = Checkpoint(origin="backstop/31004502", size=128, root=ROOT)

PUBLISHED = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5"
    "/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
"""The example of the specification itself."""


def a_key(seed: int = 1) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def a_note(head: Checkpoint = HEAD, seed: int = 1) -> str:
    key = a_key(seed)
    text = note_text(head)
    return note_of(text, signature_identity(head.origin, public(key)), key.sign(text.encode()))


def check(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def second_reader(note: bytes, known_name: str, known_key: bytes) -> tuple[str, int, bytes]:
    """Read and check a checkpoint; shares nothing with the code under test."""
    assert not any(byte < 0x20 and byte != 0x0A for byte in note)
    cut = note.rindex(b"\n\n")
    body, lines = note[: cut + 1], note[cut + 2 :].decode("utf-8")
    assert lines.endswith("\n")
    good = 0
    for line in lines[:-1].split("\n"):
        dash, name, value = line.split(" ")
        assert dash == "\u2014"
        blob = base64.standard_b64decode(value)
        known_id = hashlib.sha256(known_name.encode() + b"\x0a\x01" + known_key).digest()[:4]
        if (name, blob[:4]) != (known_name, known_id):
            continue
        Ed25519PublicKey.from_public_bytes(known_key).verify(blob[4:], body)
        good += 1
    assert good, "no signature of the known key"
    origin, size, root, *extensions = body.decode("utf-8")[:-1].split("\n")
    assert origin
    assert size == str(int(size))
    assert all(extensions)
    return origin, int(size), base64.standard_b64decode(root)


@pytest.mark.parametrize("size", [0, 1, 128, 10**12])
def test_a_second_reader_finds_what_was_signed(size: int) -> None:
    head = Checkpoint(origin=log_origin("31004502"), size=size, root=ROOT)

    found = second_reader(a_note(head).encode(), "backstop/31004502", public(a_key()))

    assert found == ("backstop/31004502", size, ROOT)


def test_what_was_written_is_read_back() -> None:
    signed = parse(a_note())

    assert signed.checkpoint == HEAD
    assert signed.is_signed_by(public(a_key()), check)
    assert signed.note == a_note()


def test_the_published_example_is_read() -> None:
    signed = parse(PUBLISHED)

    assert signed.checkpoint.origin == "example.com/behind-the-sofa"
    assert signed.checkpoint.size == 20_852_163
    assert signed.signatures[0].key_hash.hex() == "033de0ae"


def test_another_key_did_not_sign_it() -> None:
    assert not parse(a_note()).is_signed_by(public(a_key(2)), check)


def test_the_same_key_under_another_name_did_not_sign_it() -> None:
    signed = parse(a_note().replace("— backstop/31004502", "— somebody/else"))

    assert not signed.is_signed_by(public(a_key()), check)


def test_lines_of_unknown_keys_are_ignored() -> None:
    witness = parse(a_note(seed=9)).note.rpartition("\n\n")[2]
    signed = parse(a_note() + witness)

    assert len(signed.signatures) == 2
    assert signed.is_signed_by(public(a_key()), check)


def test_one_false_line_of_our_key_spoils_the_note() -> None:
    raw = key_hash(HEAD.origin, public(a_key())) + bytes(64)
    false_line = f"— {HEAD.origin} {base64.b64encode(raw).decode()}\n"

    assert not parse(a_note() + false_line).is_signed_by(public(a_key()), check)


@pytest.mark.parametrize("place", range(len(a_note().encode())))
def test_no_byte_of_a_checkpoint_can_be_changed(place: int) -> None:
    raw = bytearray(a_note().encode())
    raw[place] ^= 1
    try:
        signed = parse(raw.decode("utf-8"))
    except (CheckpointError, UnicodeDecodeError):
        return
    assert not signed.is_signed_by(public(a_key()), check)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no signature"),
        ("a\n1\n", "no signature"),
        (a_note().rstrip("\n"), "no signature"),
        (a_note().replace("\n128\n", "\n0128\n"), "plain decimal"),
        (a_note().replace("\n128\n", "\n-1\n"), "plain decimal"),
        (a_note().replace("\n128\n", "\n1 28\n"), "plain decimal"),
        (a_note().replace("\n128\n", "\n"), "three lines"),
        (a_note().replace("backstop/31004502\n128", "\n128"), "three lines"),
        (a_note().replace("\n128\n", "\n128\n\n"), "three lines"),
        (a_note().replace("\n128\n", "\n128\r\n"), "control character"),
        (a_note().replace("—", "-"), "no signature"),
        (a_note().replace("— backstop", "— back+stop"), "no signature"),
        (a_note().replace("=\n\n", "\n\n"), "not base64"),
        ("o\n1\nAAAA\n\n— o AAAAAAA=\n", "root has 3 bytes"),
        (f"o\n1\n{base64.b64encode(ROOT).decode()}\n\n— o AAAAAA==\n", "holds no signature"),
        (f"o\n1\n{base64.b64encode(ROOT).decode()}\n\n— o AAAAAAB=\n", "one base64 form"),
        ("x" * (MAX_NOTE_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_its_fault(text: str, fault: str) -> None:
    with pytest.raises(CheckpointError, match=fault):
        parse(text)


def test_the_key_is_given_as_other_tools_take_it() -> None:
    name, hash_hex, encoded = verifier_key(HEAD.origin, public(a_key())).split("+", maxsplit=2)

    assert name == HEAD.origin
    assert bytes.fromhex(hash_hex) == parse(a_note()).signatures[0].key_hash
    assert base64.b64decode(encoded) == b"\x01" + public(a_key())
