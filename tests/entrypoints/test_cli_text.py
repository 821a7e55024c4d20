"""What the reading verbs print for people, from the answers that the API gives."""

from typing import Any

import pytest

from backstop.entrypoints.cli import VERBS, _Deferred, run
from backstop.entrypoints.reading import _say_judgement, _say_positions


def a_level(quantity: int, price: str) -> dict[str, Any]:
    return {"broker_order_id": 1, "price": price, "quantity": quantity, "type": "STOP"}


def test_a_position_is_shown_with_every_stop_that_protects_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = a_level(1, "5900"), a_level(2, "5600")
    _say_positions(
        [
            {
                "symbol": "MES",
                "quantity": 3,
                "average_price": "6012.833333333333",
                "stop": first,
                "target": None,
                "stops": [first, second],
                "targets": [],
                "knowledge": "KNOWN",
                "protection": "PROTECTED",
                "naked_ms": 0,
            }
        ]
    )

    heads, row = capsys.readouterr().out.splitlines()
    assert " ".join(heads.split()) == (
        "SYMBOL QTY AVERAGE STOPS TARGETS PROTECTION NAKED MS KNOWLEDGE"
    )
    assert " ".join(row.split()) == "MES +3 6012.8333 1 @ 5900, 2 @ 5600 - PROTECTED 0 KNOWN"


@pytest.mark.parametrize(
    ("message", "max_quantity", "line"),
    [
        ("51 in one order", 50, "51 in one order (largest quantity that passes: 50)"),
        (
            "too much, and the largest quantity that passes is 50",
            50,
            "too much, and the largest quantity that passes is 50",
        ),
        ("no stop", None, "no stop"),
    ],
)
def test_the_largest_quantity_is_said_once(
    capsys: pytest.CaptureFixture[str], message: str, max_quantity: int | None, line: str
) -> None:
    denial = {"code": "A_RULE", "message": message, "max_quantity": max_quantity}
    _say_judgement(
        {"decision": "DENIED", "denials": [denial], "rounded": {}, "r_multiple": None, "gate": None}
    )

    assert capsys.readouterr().out == f"DENIED\n  A_RULE: {line}\n"


READING = (
    "status", "positions", "exposure", "bots", "validate", "recover", "doctor", "halt", "resume",
    "liquidate",
    "alerts list", "alerts ack", "alerts test",
    "credentials check",
    "audit orders", "audit show", "audit verify", "audit export",
)  # fmt: skip


@pytest.mark.parametrize("verb", READING)
def test_a_verb_that_answers_has_json_for_programs(verb: str) -> None:
    name, _, under = verb.partition(" ")
    command = _Deferred(name, VERBS[name])._load()
    if under:
        command = command.commands[under]

    assert "--json" in {option for it in command.params for option in it.opts}


def test_every_verb_tells_what_it_does_in_one_sentence() -> None:
    for name, verb in VERBS.items():
        assert verb.help.endswith("."), name
        assert len(verb.help) <= 80, name


@pytest.mark.parametrize("arguments", [[], ["audit"], ["alerts"], ["credentials"]])
def test_no_line_of_an_overview_is_cut_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        run([*arguments, "--help"])

    told = capsys.readouterr().out
    assert "Usage: backstop" in told
    assert "..." not in told.replace("[ARGS]...", "")
