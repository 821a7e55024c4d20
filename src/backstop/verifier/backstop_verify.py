"""Checks a signed execution proof offline: ``backstop-verify BUNDLE --key audit.pub``.

This file stands alone. It imports nothing of Backstop, so that it can be read in one sitting,
copied to another machine and trusted by someone who does not trust the rest; it needs Python 3.11
and the package ``cryptography``. It builds the signed bytes anew from the document instead of
believing any that came along, checks the signature, and then checks that the sums are right.

Exit codes: 0 good, 1 tampered with (or signed by another key), 2 cannot be checked.
"""

import argparse
import base64
import binascii
import hashlib
import json
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
        proof = verify_bundle(read_bundle(options.bundle), key)
    except TamperedError as error:
        sys.stderr.write(f"TAMPERED: {options.bundle}: {error}\n")
        return TAMPERED
    except UnusableError as error:
        sys.stderr.write(f"UNUSABLE: {error}\n")
        return UNUSABLE
    sys.stdout.write(f"GOOD: {summary(proof)}, signed by key {key_id(key)}\n")
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
    """Read a bundle as JSON; raises UnusableError, or TamperedError for a member named twice."""
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise UnusableError(f"{path} has more than {MAX_BUNDLE_BYTES} bytes.")
        bundle = json.loads(path.read_bytes(), object_pairs_hook=_unique_members)
    except OSError as error:
        raise UnusableError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"{path} is not JSON: {error}.") from None
    if not isinstance(bundle, dict):
        raise UnusableError(f"{path} is not a JSON object.")
    return bundle


def verify_bundle(bundle: dict[str, Any], key: Ed25519PublicKey) -> dict[str, Any]:
    """Return the proof inside ``bundle`` if ``key`` signed exactly it and its sums are right."""
    proof, signature = bundle.get("proof"), bundle.get("signature")
    if not isinstance(proof, dict) or not isinstance(signature, dict):
        raise UnusableError('A bundle has the members "proof" and "signature", both objects.')
    if proof.get("format") != FORMAT or signature.get("algorithm") != "Ed25519":
        raise UnusableError(
            f"The format {proof.get('format')!r} signed with {signature.get('algorithm')!r} is "
            f"unknown here; this checks {FORMAT!r} signed with 'Ed25519'."
        )
    if bundle.keys() != {"proof", "signature"}:
        raise TamperedError("it carries members that no signature covers")
    try:
        value = base64.b64decode(str(signature.get("value_base64")), validate=True)
        key.verify(value, canonical_bytes(proof))
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
            "slippage": _slippage_follows(proof, average),
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


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise TamperedError("it names a member twice, so readers could see different values")
    return found


def _slippage_follows(proof: dict[str, Any], average: Fraction | None) -> bool:
    slippage = proof["slippage"]
    if slippage is None:
        return True
    if average is None:
        return False
    adverse = average - _exact(slippage["reference_price"])
    if proof["order"]["side"] == "SELL":
        adverse = -adverse
    return _fraction(slippage["ticks"]) == adverse / _exact(slippage["tick_size"])


def _fraction(document: dict[str, str] | None) -> Fraction | None:
    if document is None:
        return None
    return Fraction(int(document["numerator"]), int(document["denominator"]))


def _exact(text: str) -> Fraction:
    return Fraction(Decimal(text))


if __name__ == "__main__":
    sys.exit(main())
