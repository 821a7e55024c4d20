"""The stand-alone check of a saved proof: good, tampered with, or not to be checked."""

import json
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.adapters.signing import AuditKeys
from backstop.core import canonical_json
from backstop.core.execution_proof import (
    ProofFill,
    ProofOrder,
    execution_proof,
    signed_bundle,
    signed_bytes,
)
from backstop.domain.order import OrderState, OrderType, Side
from backstop.verifier import backstop_verify
from backstop.verifier.backstop_verify import (
    GOOD,
    TAMPERED,
    UNUSABLE,
    TamperedError,
    main,
    verify_bundle,
)

Bundle = dict[str, Any]


def a_proof() -> dict[str, Any]:
    return execution_proof(
        ProofOrder(
            client_order_id="größe-\U0001f600",
            custom_tag="bs-abc",
            broker_order_ids=(3_400_000_001,),
            account_id=42,
            contract_id="CON.F.US.MES.Z25",
            symbol="MES",
            side=Side.SELL,
            type=OrderType.LIMIT,
            quantity=3,
            limit_price=Decimal("5000.25"),
            state=OrderState.FILLED,
            intended_utc_us=1_762_093_800_000_000,
            reference_price=Decimal("5000.25"),
            tick_size=Decimal("0.25"),
            max_slippage_ticks=Decimal(2),
            journal_seq=17,
            fills=tuple(
                ProofFill(
                    fill_id=number,
                    price=Decimal("5000.25") + number,
                    quantity=number,
                    utc_us=1_762_093_801_000_000,
                    fees_micros=370_000,
                    raw="{}",
                )
                for number in (1, 2)
            ),
        )
    )


@pytest.fixture
def keys(tmp_path: Path) -> AuditKeys:
    return AuditKeys.open(tmp_path / "keys")


def signed(keys: AuditKeys, proof: dict[str, Any]) -> Bundle:
    signature = keys.sign(signed_bytes(proof))
    return signed_bundle(proof, key_id=keys.key_id, signature=signature)


def check(tmp_path: Path, bundle: object, keys: AuditKeys) -> int:
    saved = tmp_path / "bundle.json"
    saved.write_text(json.dumps(bundle))
    return main([str(saved), "--key", str(keys.public_key_path)])


def test_a_true_bundle_is_good(
    tmp_path: Path, keys: AuditKeys, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, signed(keys, a_proof()), keys) == GOOD
    assert capsys.readouterr().out.startswith(
        "GOOD: order größe-\U0001f600 SELL 3 MES is FILLED with 3 filled at 5001.916666666"
    )


def test_the_layout_of_the_file_does_not_matter(tmp_path: Path, keys: AuditKeys) -> None:
    bundle = signed(keys, a_proof())
    saved = tmp_path / "bundle.json"
    saved.write_text(json.dumps(bundle, indent=4, ensure_ascii=False, sort_keys=True))

    assert main([str(saved), "--key", str(keys.public_key_path)]) == GOOD


def every_leaf(document: Any) -> list[list[Any]]:
    """The path to each value in ``document`` that is not a container."""
    if isinstance(document, dict):
        return [[name, *rest] for name in document for rest in every_leaf(document[name])]
    if isinstance(document, list):
        return [[at, *rest] for at in range(len(document)) for rest in every_leaf(document[at])]
    return [[]]


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "0"
        case _:
            return "something"


PATHS = every_leaf(a_proof())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_every_single_value_is_covered(tmp_path: Path, keys: AuditKeys, path: list[Any]) -> None:
    bundle = signed(keys, a_proof())
    holder = bundle["proof"]
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = changed(holder[path[-1]])

    expected = UNUSABLE if path == ["format"] else TAMPERED
    assert check(tmp_path, bundle, keys) == expected


def edits() -> dict[str, Callable[[Bundle], object]]:
    return {
        "a fill removed": lambda bundle: bundle["proof"]["fills"].pop(),
        "a fill doubled": lambda b: b["proof"]["fills"].append(b["proof"]["fills"][0]),
        "fills swapped": lambda bundle: bundle["proof"]["fills"].reverse(),
        "a member added": lambda bundle: bundle["proof"].update(note="paid"),
        "a member removed": lambda bundle: bundle["proof"].pop("slippage"),
        "a float for a whole number": lambda b: b["proof"]["order"].update(quantity=3.0),
        "a huge number": lambda b: b["proof"]["order"].update(quantity=2**53),
        "a lone surrogate": lambda b: b["proof"]["order"].update(symbol="\ud800"),
        "bottomless nesting": lambda b: b["proof"].update(note=nested(500)),
        "an unsigned member beside": lambda bundle: bundle.update(verdict="VERIFIED"),
        "another signature": lambda b: b["signature"].update(value_base64="AA=="),
        "no base64": lambda b: b["signature"].update(value_base64="*"),
        "no signature value": lambda bundle: bundle["signature"].pop("value_base64"),
        "another key id": lambda b: b["signature"].update(key_id="0" * 32),
    }


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("name", edits())
def test_tampering_is_found(
    tmp_path: Path, keys: AuditKeys, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = signed(keys, a_proof())
    edits()[name](bundle)

    assert check(tmp_path, bundle, keys) == TAMPERED
    assert capsys.readouterr().err.startswith("TAMPERED: ")


def test_a_member_that_stands_twice_is_tampering(tmp_path: Path, keys: AuditKeys) -> None:
    """Readers differ in which of two equal names they take."""
    text = json.dumps(signed(keys, a_proof()))
    saved = tmp_path / "bundle.json"
    saved.write_text(text.replace('"symbol": "MES"', '"symbol": "ES", "symbol": "MES"'))

    assert main([str(saved), "--key", str(keys.public_key_path)]) == TAMPERED


def test_the_signature_of_another_key_does_not_count(
    tmp_path: Path, keys: AuditKeys, capsys: pytest.CaptureFixture[str]
) -> None:
    other = AuditKeys.open(tmp_path / "other")

    assert check(tmp_path, signed(other, a_proof()), keys) == TAMPERED
    assert f"it names the key {other.key_id!r}, and this key is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("member", "value"),
    [("filled_quantity", 4), ("fees", "0.75"), ("commissions", "1"), ("commission", "0")],
)
def test_a_signed_lie_about_a_total_is_found(keys: AuditKeys, member: str, value: object) -> None:
    """Whoever holds the key cannot make the sums of the fills come out differently."""
    proof = a_proof()
    proof["totals"][member] = value

    with pytest.raises(TamperedError, match="it is signed but does not add up"):
        verify_bundle(signed(keys, proof), keys.public_key())


def moved(proof: Bundle) -> Bundle:
    """Say that the limit was moved between the fills: one from 5000, two from 5000.75."""
    slippage = proof["slippage"]
    del slippage["reference_price"]
    slippage["reference_prices"] = {"1": "5000", "2": "5000.75"}
    # Sold at 5001.25 and 5002.25, which is 5 ticks better once and 6 twice.
    slippage["ticks"] = {"numerator": "-17", "denominator": "3", "decimal": "-5.666666666"}
    return proof


def test_slippage_from_a_level_that_moved_between_the_fills_is_checked(keys: AuditKeys) -> None:
    proof = moved(a_proof())
    verify_bundle(signed(keys, proof), keys.public_key())
    for lie in ({"1": "5000", "2": "5000.50"}, {"1": "5000"}, {"1": "5000", "3": "5000.75"}):
        proof["slippage"]["reference_prices"] = lie
        with pytest.raises(TamperedError, match="it is signed but"):
            verify_bundle(signed(keys, proof), keys.public_key())


def test_an_unknown_reference_goes_with_no_number(keys: AuditKeys) -> None:
    proof = a_proof()
    proof["slippage"] = {"reference_price": None, "reference": "UNKNOWN", "why": "no quote"}
    verify_bundle(signed(keys, proof), keys.public_key())

    proof["slippage"]["ticks"] = {"numerator": "0", "denominator": "1", "decimal": "0"}
    with pytest.raises(TamperedError, match="it is signed but does not add up"):
        verify_bundle(signed(keys, proof), keys.public_key())


def price_lies() -> dict[str, Callable[[Bundle], object]]:
    return {
        "average": lambda proof: proof["average_price"].update(numerator="1"),
        "no average": lambda proof: proof.update(average_price=None),
        "division by zero": lambda proof: proof["average_price"].update(denominator="0"),
        "slippage": lambda proof: proof["slippage"]["ticks"].update(numerator="1"),
        "a breach made up": lambda proof: proof["slippage"].update(breach=True),
        "another limit": lambda proof: proof["slippage"].update(max_ticks="-1000"),
        "one trade twice": lambda p: p["fills"].append(p["fills"][0] | {"voided": True}),
        "no totals": lambda proof: proof.pop("totals"),
        "no number": lambda proof: proof["fills"][0].update(price="a lot"),
    }


@pytest.mark.parametrize("name", price_lies())
def test_a_signed_lie_about_prices_is_found(keys: AuditKeys, name: str) -> None:
    proof = a_proof()
    price_lies()[name](proof)

    with pytest.raises(TamperedError, match="it is signed but"):
        verify_bundle(signed(keys, proof), keys.public_key())


@pytest.mark.parametrize(
    "bundle",
    [
        [],
        "text",
        {},
        {"proof": {}, "signature": {}},
        {"proof": [], "signature": {"algorithm": "Ed25519"}},
        {"proof": {"format": "backstop.execution-proof.v1"}, "signature": {"algorithm": "RSA"}},
    ],
)
def test_what_is_no_bundle_was_never_signed(
    tmp_path: Path, keys: AuditKeys, bundle: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, bundle, keys) == TAMPERED
    assert capsys.readouterr().err.startswith("TAMPERED: ")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN"])
def test_what_is_no_json_was_never_signed(tmp_path: Path, keys: AuditKeys, content: bytes) -> None:
    saved = tmp_path / "bundle.json"
    saved.write_bytes(content)

    assert main([str(saved), "--key", str(keys.public_key_path)]) == TAMPERED


def test_missing_files_and_wrong_keys_cannot_be_used(tmp_path: Path, keys: AuditKeys) -> None:
    bundle = tmp_path / "bundle.json"
    bundle.write_text(json.dumps(signed(keys, a_proof())))
    (tmp_path / "bad.pub").write_text("not a key")

    assert main([str(tmp_path / "absent"), "--key", str(keys.public_key_path)]) == UNUSABLE
    assert main([str(bundle), "--key", str(tmp_path / "absent")]) == UNUSABLE
    assert main([str(bundle), "--key", str(tmp_path / "bad.pub")]) == UNUSABLE


def test_an_endless_file_is_not_read(
    tmp_path: Path, keys: AuditKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backstop_verify, "MAX_BUNDLE_BYTES", 10)

    assert check(tmp_path, signed(keys, a_proof()), keys) == UNUSABLE


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda children: st.lists(children) | st.dictionaries(texts, children),
    max_leaves=15,
)


@given(document=documents)
def test_its_own_canonical_form_is_that_of_the_guard(document: object) -> None:
    assert backstop_verify.canonical_bytes(document) == canonical_json.encode(document)


def test_the_file_works_alone_on_another_machine(tmp_path: Path, keys: AuditKeys) -> None:
    """Copied out of the package and run isolated, with an import of the rest made impossible."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(backstop_verify.__file__, alone / "backstop_verify.py")
    (alone / "bundle.json").write_text(json.dumps(signed(keys, a_proof())))
    program = (
        "import runpy, sys; sys.modules['backstop'] = None;"
        "sys.argv = ['backstop-verify', *sys.argv[1:]];"
        "runpy.run_path('backstop_verify.py', run_name='__main__')"
    )

    result = subprocess.run(
        [sys.executable, "-I", "-c", program, "bundle.json", "--key", keys.public_key_path],
        cwd=alone,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )

    assert result.returncode == GOOD, result.stderr
    assert result.stdout.startswith("GOOD: ")


def test_any_one_changed_byte_is_found(tmp_path: Path, keys: AuditKeys) -> None:
    """Also a byte that breaks the JSON: what was signed was whole."""
    good = json.dumps(signed(keys, a_proof())).encode()
    saved = tmp_path / "bundle.json"
    for place in range(0, len(good), 7):
        saved.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])

        assert main([str(saved), "--key", str(keys.public_key_path)]) == TAMPERED, place


def test_a_signature_has_one_form(tmp_path: Path, keys: AuditKeys) -> None:
    """The last character of base64 has bits that most readers ignore: ours does not."""
    bundle = signed(keys, a_proof())
    value = bundle["signature"]["value_base64"]
    other = {"A": "B", "Q": "R", "g": "h", "w": "x"}[value[-3]]
    bundle["signature"]["value_base64"] = f"{value[:-3]}{other}=="
    saved = tmp_path / "bundle.json"
    saved.write_text(json.dumps(bundle), encoding="utf-8")

    assert b64decode(value) == b64decode(bundle["signature"]["value_base64"])
    assert main([str(saved), "--key", str(keys.public_key_path)]) == TAMPERED
