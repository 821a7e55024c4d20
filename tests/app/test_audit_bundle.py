"""The bundle of an order: true as it is, and false after any change."""

import copy
import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.app.desk import a_desk, a_venue
from tests.app.record_story import Story, ask, tell

from backstop.adapters.signing import AuditKeys
from backstop.app import audit_bundle
from backstop.app.audit_bundle import order_bundle
from backstop.domain.order import OrderState
from backstop.errors import NoBundleError
from backstop.simulator.fault_rules import FaultKind
from backstop.verifier.backstop_verify import (
    GOOD,
    TAMPERED,
    UNUSABLE,
    TamperedError,
    main,
    read_key,
    verify_audit_bundle,
)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as environment:
        folder = tmp_path_factory.mktemp("story")
        environment.setenv("XDG_RUNTIME_DIR", str(folder))
        yield tell(folder)


def bundle(story: Story, order: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(order_bundle(story.folder, order))
    return made


def public_key(story: Story) -> Path:
    return story.folder / "keys" / "audit.pub"


@pytest.mark.parametrize("order", ["order-1", "order-3"])
def test_orders_before_and_after_a_change_of_keys_are_proven(story: Story, order: str) -> None:
    told = verify_audit_bundle(bundle(story, order), read_key(public_key(story)))

    assert told.startswith(f"order {order} BUY 1 MES is FILLED with 1 filled")
    assert f"with {story.records} records" in told


def test_the_records_of_an_order_tell_its_life_in_order(story: Story) -> None:
    records = [it["record"] for it in bundle(story, "order-1")["records"]]

    assert [it["seq"] for it in records] == sorted({it["seq"] for it in records})
    assert [records[0]["kind"], records[1]["kind"], records[-1]["kind"]] == [
        "event",
        "command",
        "proof",
    ]


async def test_a_trade_that_came_before_its_order_had_a_number_is_among_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with a_venue() as venue:
        desk = a_desk(venue, tmp_path)
        async with desk.guard() as guard:
            desk.mischief("GatewayUserOrder", FaultKind.DROP_EVENT, count=None)
            desk.mischief("Order/place", FaultKind.LOSE_RESPONSE)
            name = (await guard.send(guard.request())).client_order_id
            order = await guard.reaches(name, OrderState.FILLED)
            await guard.proof(name)
    made = json.loads(order_bundle(desk.folder / "state", name))
    facts = [json.loads(b64decode(it["record"]["payload_base64"])) for it in made["records"]]
    reported = {it["trade"]["trade_id"] for it in facts if it.get("kind") == "TradeReported"}

    assert OrderState.UNKNOWN in {it.to_state for it in order.transitions}
    assert reported == {fill.trade_id for fill in order.fills}
    told = verify_audit_bundle(made, read_key(desk.folder / "state" / "keys" / "audit.pub"))
    assert f"order {name} BUY 1 MES is FILLED" in told


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value in a document."""
    match document:
        case dict():
            for name, value in document.items():
                yield from places(value, (*path, name))
        case list():
            for place, value in enumerate(document):
                yield from places(value, (*path, place))
        case _:
            yield path


def edited(document: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """Return a copy with another value at the end of ``path``."""
    other = copy.deepcopy(document)
    held = other
    for step in path[:-1]:
        held = held[step]
    value = held[path[-1]]
    match value:
        case bool():
            held[path[-1]] = not value
        case int():
            held[path[-1]] = value + 1
        case None:
            held[path[-1]] = "x"
        case _:
            middle = len(value) // 2
            swapped = "B" if value[middle : middle + 1] == "A" else "A"
            held[path[-1]] = value[:middle] + swapped + value[middle + 1 :]
    return other


def test_every_single_value_is_covered(story: Story) -> None:
    true, key = bundle(story, "order-1"), read_key(public_key(story))
    ways = [path for path in places(true) if path != ("format",)]

    assert len(ways) > 100
    for path in ways:
        with pytest.raises(TamperedError):
            verify_audit_bundle(edited(true, path), key)


@pytest.mark.parametrize(
    "edit",
    [
        lambda it: it["records"].pop(),
        lambda it: it["records"].reverse(),
        lambda it: it["records"].append(it["records"][0]),
        lambda it: it["records"][0]["inclusion"].append(it["records"][0]["inclusion"][0]),
        lambda it: it["records"][0]["inclusion"].pop(),
        lambda it: it["rotations"].clear(),
        lambda it: it.update(extra=1),
        lambda it: it["records"][0].update(extra=1),
        lambda it: it["records"][0]["record"].update(said="a lie"),
        lambda it: it["records"][0]["record"].update(
            monotonic_ns=f"+{it['records'][0]['record']['monotonic_ns']}"
        ),
        lambda it: it["records"][0]["record"].update(seq=float(it["records"][0]["record"]["seq"])),
        lambda it: it.pop("rotations"),
        lambda it: it.update(checkpoint="nothing"),
        lambda it: it.update(execution=None),
    ],
)
def test_what_is_left_out_or_put_in_is_found(story: Story, edit: Any) -> None:
    changed = bundle(story, "order-1")
    edit(changed)

    with pytest.raises(TamperedError):
        verify_audit_bundle(changed, read_key(public_key(story)))


def test_the_proof_of_another_order_does_not_fit(story: Story) -> None:
    changed = bundle(story, "order-1")
    changed["execution"] = bundle(story, "order-2")["execution"]

    with pytest.raises(TamperedError):
        verify_audit_bundle(changed, read_key(public_key(story)))


def test_a_key_that_is_not_the_newest_does_not_vouch(story: Story, tmp_path: Path) -> None:
    made = tmp_path / "order-1.json"
    made.write_bytes(order_bundle(story.folder, "order-1"))
    stranger = AuditKeys.open(tmp_path / "keys").public_key_path

    assert main([str(made), "--key", str(public_key(story))]) == GOOD
    assert main([str(made), "--key", str(story.older / "keys" / "audit.pub")]) == TAMPERED
    assert main([str(made), "--key", str(stranger)]) == TAMPERED


def test_a_format_of_the_future_cannot_be_checked(story: Story, tmp_path: Path) -> None:
    made = bundle(story, "order-1") | {"format": "backstop.audit-bundle.v9"}
    path = tmp_path / "future.json"
    path.write_text(json.dumps(made))

    assert main([str(path), "--key", str(public_key(story))]) == UNUSABLE


def test_the_plain_proof_is_still_accepted(story: Story, tmp_path: Path) -> None:
    """The saved answer of the proof call stands for itself, under the key that signed it."""
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(bundle(story, "order-3")["execution"]))

    checked = subprocess.run(
        [sys.executable, "-m", "backstop.verifier.backstop_verify", str(path), "--key",
         str(public_key(story))],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip

    assert checked.returncode == GOOD, checked.stderr


def test_an_order_with_too_many_records_is_left_to_the_export(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_bundle, "MAX_RECORDS", 3)

    with pytest.raises(NoBundleError, match="audit export"):
        order_bundle(story.folder, "order-1")


def test_an_order_of_others_has_no_bundle(story: Story) -> None:
    leg = ask(story.folder, "SELECT OrderId FROM OrderAudit WHERE ClientOrderId IS NULL")[0][0]

    with pytest.raises(NoBundleError, match="not placed by Backstop"):
        order_bundle(story.folder, leg)
