"""Checks a signed execution proof offline: ``backstop-verify BUNDLE --key audit.pub``.

A bundle is a proof by itself (the saved answer of ``GET /v1/orders/{id}/proof``), or one with its
place in the log (``backstop audit prove``): the journal records of the order, how each of them
leads to the root of a Merkle tree, and the signed checkpoint of that tree.

This file stands alone. It imports nothing of Backstop, so that it can be read in one sitting,
copied to another machine and trusted by someone who does not trust the rest; it needs Python 3.11
and the package ``cryptography``. It builds the signed bytes anew from the document instead of
believing any that came along, checks the signature, and then checks that the sums are right.

Sources: RFC 8785 (canonical JSON), RFC 6962 and RFC 9162 (Merkle tree), c2sp.org/signed-note and
c2sp.org/tlog-checkpoint.

Exit codes: 0 good, 1 tampered with (or signed by another key), 2 cannot be checked.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import struct
import sys
from collections.abc import Sequence
from decimal import Decimal, DecimalException
from fractions import Fraction
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

GOOD, TAMPERED, UNUSABLE = 0, 1, 2

FORMAT = "backstop.execution-proof.v1"
AUDIT_FORMAT = "backstop.audit-bundle.v1"
ROTATION_FORMAT = "backstop.key-rotation.v1"
NEWER_FORMAT = re.compile(r"backstop\.(execution-proof|audit-bundle)\.v([2-9]|[1-9][0-9])")
RECORD_PREFIX = b"backstop journal record v1\0"
ORIGIN_PREFIX = "backstop/"
INCLUDED_MEMBERS = {"record", "inclusion"}
RECORD_MEMBERS = {
    *("seq", "kind", "account", "epoch"),
    *("monotonic_ns", "utc_us", "payload_base64", "leaf_hash"),
}
MAX_BUNDLE_BYTES = 16 * 2**20  # an order with 20 000 fills has 8 MiB; more is no proof
MAX_SAFE_INTEGER = 2**53 - 1  # beyond it JSON readers round, so none was ever signed


class TamperedError(Exception):
    """The bundle is not what was signed, or what was signed does not add up."""


class UnusableError(Exception):
    """The bundle or the key cannot be read, so nothing can be said about them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the bundle that the command line names, say the result, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="backstop-verify",
        description="Check a signed Backstop execution proof offline.",
        epilog="Exit codes: 0 good, 1 tampered with, 2 cannot be checked.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the saved proof, a JSON file")
    parser.add_argument("--key", type=Path, required=True, help="the public key, audit.pub")
    options = parser.parse_args(arguments)
    try:
        key = read_key(options.key)
        bundle = read_bundle(options.bundle)
        found = (
            verify_audit_bundle(bundle, key)
            if bundle.get("format") == AUDIT_FORMAT
            else f"{summary(verify_bundle(bundle, key))}, signed by key {key_id(key)}"
        )
    except TamperedError as error:
        sys.stderr.write(f"TAMPERED: {options.bundle}: {error}\n")
        return TAMPERED
    except UnusableError as error:
        sys.stderr.write(f"UNUSABLE: {error}\n")
        return UNUSABLE
    sys.stdout.write(f"GOOD: {found}\n")
    return GOOD


def read_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key in PEM form; raises UnusableError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise UnusableError(f"{path} is not a readable public key in PEM form: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableError(f"{path} is not an Ed25519 key.")
    return key


def read_bundle(path: Path) -> dict[str, Any]:
    """Read a bundle as JSON.

    Raises:
        UnusableError: the file cannot be read.
        TamperedError: what it holds cannot be what was signed: no JSON object, or an ambiguous one.
    """
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise UnusableError(f"{path} has more than {MAX_BUNDLE_BYTES} bytes.")
        bundle = json.loads(path.read_bytes(), object_pairs_hook=_unique_members)
    except OSError as error:
        raise UnusableError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise TamperedError(f"it is not JSON: {error}") from None
    if not isinstance(bundle, dict):
        raise TamperedError("it is not a JSON object")
    return bundle


def refuse_newer(named: object) -> None:
    """Raise UnusableError for a format of a later version: it may be good, who knows."""
    if NEWER_FORMAT.fullmatch(str(named)):
        raise UnusableError(
            f"The format is {named!r}; this checks {FORMAT!r} and {AUDIT_FORMAT!r}."
        )


def verify_bundle(bundle: dict[str, Any], key: Ed25519PublicKey) -> dict[str, Any]:
    """Return the proof inside ``bundle`` if ``key`` signed exactly it and its sums are right."""
    refuse_newer(bundle.get("format"))
    proof, signature = bundle.get("proof"), bundle.get("signature")
    if not isinstance(proof, dict) or not isinstance(signature, dict):
        raise TamperedError('it has not the members "proof" and "signature", both objects')
    if proof.get("format") != FORMAT or signature.get("algorithm") != "Ed25519":
        refuse_newer(proof.get("format"))
        raise TamperedError(
            f"it names the format {proof.get('format')!r} signed with "
            f"{signature.get('algorithm')!r}, and that was never signed"
        )
    if bundle.keys() != {"proof", "signature"}:
        raise TamperedError("it carries members that no signature covers")
    try:
        key.verify(_base64(str(signature.get("value_base64"))), canonical_bytes(proof))
    except (InvalidSignature, binascii.Error, ValueError, RecursionError):
        if signature.get("key_id") != key_id(key):
            raise TamperedError(
                f"it names the key {signature.get('key_id')!r}, and this key is {key_id(key)!r}"
            ) from None
        raise TamperedError("the signature does not fit the document") from None
    if signature.get("key_id") != key_id(key):
        raise TamperedError(f"it names the key {signature.get('key_id')!r}, which did not sign it")
    check_sums(proof)
    return proof


def verify_audit_bundle(bundle: dict[str, Any], key: Ed25519PublicKey) -> str:
    """Check a proof with its place in the log; returns one line for people about it.

    ``key`` is the newest key of the log: it signed the checkpoint. Who signed the proof follows
    from the changes of keys, which stand in the log themselves.
    """
    members = {"format", "execution", "records", "rotations", "checkpoint"}
    if bundle.keys() != members:
        raise TamperedError("it has not exactly the members " + ", ".join(sorted(members)))
    try:
        account, size, root = read_checkpoint(bundle["checkpoint"], key)
        for included in (*bundle["rotations"], *bundle["records"]):
            check_inclusion(included, account=account, size=size, root=root)
        keys = key_chain(bundle["rotations"], key)
        proof_seq = bundle["execution"]["proof"]["journal"]["seq"]
        signer = next(held for first, held in reversed(keys) if first <= proof_seq)
        proof = verify_bundle(bundle["execution"], signer)
        records = [included["record"] for included in bundle["records"]]
        seqs = [record["seq"] for record in records]
        proofs = [json.loads(_payload(it)) for it in records if it["kind"] == "proof"]
    except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise TamperedError(f"it is incomplete: {error!r}") from None
    except UnusableError as error:
        raise TamperedError(f"the proof in it is none: {error}") from None
    if seqs != sorted(set(seqs)) or proof_seq not in seqs:
        raise TamperedError(
            "its records are out of order, or the one that completed it is not there"
        )
    ours = [it for it in proofs if it["proof"]["order"] == proof["order"]]
    if not ours or ours[-1] != bundle["execution"]:
        raise TamperedError("the proof is not the newest one among its records in the log")
    return (
        f"{summary(proof)}, signed by key {key_id(signer)}; its {len(records)} records are in the "
        f"log of account {account} with {size} records, signed by key {key_id(key)}"
    )


def read_checkpoint(note: str, key: Ed25519PublicKey) -> tuple[str, int, bytes]:
    """Return account, size and root of a signed checkpoint; raises TamperedError, ValueError."""
    text, _, lines = note.rpartition("\n\n")
    origin, size, root = text.split("\n")
    known = hashlib.sha256(origin.encode() + b"\n\x01" + key.public_bytes_raw()).digest()[:4]
    if not origin.startswith(ORIGIN_PREFIX) or size != str(int(size)):
        raise TamperedError("its checkpoint is not one of a log of Backstop")
    for line in lines.removesuffix("\n").split("\n"):
        dash, name, value = line.split(" ")
        signature = _base64(value)
        if (dash, name, signature[:4]) == ("\u2014", origin, known):
            _check_signature(key, signature[4:], f"{text}\n".encode(), "its checkpoint")
            return origin.removeprefix(ORIGIN_PREFIX), int(size), _base64(root)
    raise TamperedError(f"its checkpoint is not signed by the key {key_id(key)}")


def check_inclusion(included: dict[str, Any], *, account: str, size: int, root: bytes) -> None:
    """Check that a record hashes to a leaf that leads to ``root`` (RFC 9162 section 2.1.3.2)."""
    record = included["record"]
    if included.keys() != INCLUDED_MEMBERS or record.keys() != RECORD_MEMBERS:
        raise TamperedError("a record in it carries members that no hash covers")
    leaf = hashlib.sha256(b"\x00" + leaf_bytes(record)).digest()
    node, position, last = leaf, record["seq"] - 1, size - 1
    good = 0 <= position <= last and record["account"] == account
    for sibling in map(_base64, included["inclusion"]):
        good = good and last > 0
        if position % 2 == 1 or position == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while position % 2 == 0 and position != 0:
                position, last = position // 2, last // 2
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        position, last = position // 2, last // 2
    if not good or last != 0 or node != root or record["leaf_hash"] != leaf.hex():
        raise TamperedError(f"record {record['seq']} is not in the tree of the checkpoint")


def leaf_bytes(record: dict[str, Any]) -> bytes:
    """Return the bytes of a record that its leaf hash covers: everything that is stored of it."""
    numbers = (record["seq"], record["epoch"], int(record["monotonic_ns"]), record["utc_us"])
    if str(numbers[2]) != record["monotonic_ns"] or any(type(it) is not int for it in numbers):
        raise ValueError("a number of a record is not written as it always is")
    parts = [RECORD_PREFIX, struct.pack(">QQqq", *numbers)]
    for part in (record["kind"].encode(), record["account"].encode(), _payload(record)):
        parts += [struct.pack(">I", len(part)), part]
    return b"".join(parts)


def key_chain(
    rotations: list[dict[str, Any]], newest: Ed25519PublicKey
) -> list[tuple[int, Ed25519PublicKey]]:
    """Return each key with the first record it signs; every change is signed by both its keys."""
    keys: list[tuple[int, Ed25519PublicKey]] = []
    for included in rotations:
        record = included["record"]
        held = json.loads(_payload(record))
        change, signatures = held["rotation"], held["signatures"]
        if change["format"] != ROTATION_FORMAT or change["seq"] != record["seq"]:
            raise TamperedError(f"record {record['seq']} is no change of keys")
        sides = {}
        for side in ("old", "new"):
            raw = _base64(change[f"{side}_public_key_base64"])
            sides[side] = Ed25519PublicKey.from_public_bytes(raw)
            what = f"the change of keys in record {record['seq']}"
            _check_signature(sides[side], _base64(signatures[side]), canonical_bytes(change), what)
        if keys and key_id(keys[-1][1]) != key_id(sides["old"]):
            raise TamperedError("its changes of keys do not follow from each other")
        keys = keys or [(0, sides["old"])]
        keys.append((record["seq"], sides["new"]))
    if keys and key_id(keys[-1][1]) != key_id(newest):
        raise TamperedError(f"its changes of keys do not lead to the key {key_id(newest)}")
    return keys or [(0, newest)]


def canonical_bytes(value: Any) -> bytes:
    """Return the canonical JSON (RFC 8785) of a document without fractional numbers.

    Raises:
        ValueError: it holds what no signed document holds.
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value).encode()
    if isinstance(value, int) and abs(value) <= MAX_SAFE_INTEGER:
        return str(value).encode()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).encode()
    if isinstance(value, list):
        return b"[" + b",".join(canonical_bytes(item) for item in value) + b"]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        members = (canonical_bytes(name) + b":" + canonical_bytes(value[name]) for name in names)
        return b"{" + b",".join(members) + b"}"
    raise ValueError(f"{value!r} cannot stand in a signed document")


def check_sums(proof: dict[str, Any]) -> None:
    """Check that totals, average price and slippage follow from the fills; raises TamperedError."""
    try:
        fills = [fill for fill in proof["fills"] if not fill["voided"]]
        quantity = sum(fill["quantity"] for fill in fills)
        value = sum((_exact(fill["price"]) * fill["quantity"] for fill in fills), Fraction(0))
        average = value / quantity if quantity else None
        fees = sum((_exact(fill["fees"]) for fill in fills), Fraction(0))
        commissions = sum((_exact(fill["commissions"]) for fill in fills), Fraction(0))
        totals = proof["totals"]
        claims = {
            "a trade counts once": len({fill["fill_id"] for fill in proof["fills"]})
            == len(proof["fills"]),
            "filled quantity": totals["filled_quantity"] == quantity,
            "fees": _exact(totals["fees"]) == fees,
            "commissions": _exact(totals["commissions"]) == commissions,
            "commission": _exact(totals["commission"]) == fees + commissions,
            "average price": _fraction(proof["average_price"]) == average,
            "slippage": _slippage_follows(proof, fills, average),
        }
    except (KeyError, TypeError, ValueError, ArithmeticError, DecimalException) as error:
        raise TamperedError(f"it is signed but incomplete: {error!r}") from None
    wrong = [name for name, holds in claims.items() if not holds]
    if wrong:
        raise TamperedError(f"it is signed but does not add up: {', '.join(wrong)}")


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a key: the first 16 bytes of the SHA-256 of its 32 bytes, as hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def summary(proof: dict[str, Any]) -> str:
    """Return one line for people about a proof that was checked."""
    order, totals, average = proof["order"], proof["totals"], proof["average_price"]
    price = f" at {average['decimal']}" if average else ""
    return (
        f"order {order['client_order_id']} {order['side']} {order['quantity']} {order['symbol']} "
        f"is {order['state']} with {totals['filled_quantity']} filled{price}"
    )


def _payload(record: dict[str, Any]) -> bytes:
    return _base64(record["payload_base64"])


def _base64(text: str) -> bytes:
    """Return the bytes of ``text``; raises ValueError where it is not their one base64 form."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("base64 with bits that stand for nothing")
    return raw


def _check_signature(key: Ed25519PublicKey, signature: bytes, message: bytes, what: str) -> None:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise TamperedError(f"{what} is not signed by the key {key_id(key)}") from None


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise TamperedError("it names a member twice, so readers could see different values")
    return found


def _slippage_follows(
    proof: dict[str, Any], fills: list[dict[str, Any]], average: Fraction | None
) -> bool:
    slippage = proof["slippage"]
    if slippage is None:
        return True
    if average is None:
        return False
    if slippage.get("reference") == "UNKNOWN":
        return slippage["reference_price"] is None and "ticks" not in slippage
    adverse = average - _reference(slippage, fills)
    if proof["order"]["side"] == "SELL":
        adverse = -adverse
    ticks = adverse / _exact(slippage["tick_size"])
    breach = ticks > _exact(slippage["max_ticks"])
    return _fraction(slippage["ticks"]) == ticks and slippage["breach"] is breach


def _reference(slippage: dict[str, Any], fills: list[dict[str, Any]]) -> Fraction:
    """Return what the average is measured from; a level that was moved has one for each fill."""
    if "reference_prices" not in slippage:
        return _exact(slippage["reference_price"])
    levels = slippage["reference_prices"]
    if len(levels) != len(fills):
        raise ValueError("not each fill has its reference")
    value = sum((_exact(levels[it["fill_id"]]) * it["quantity"] for it in fills), Fraction(0))
    quantity: int = sum(it["quantity"] for it in fills)
    return value / quantity


def _fraction(document: dict[str, str] | None) -> Fraction | None:
    if document is None:
        return None
    return Fraction(int(document["numerator"]), int(document["denominator"]))


def _exact(text: str) -> Fraction:
    return Fraction(Decimal(text))


if __name__ == "__main__":
    sys.exit(main())
