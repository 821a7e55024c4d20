"""Canonical JSON against the examples of RFC 8785 and against what must be refused."""

import json
from decimal import Decimal
from enum import IntEnum, StrEnum
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstop.core import canonical_json
from backstop.core.canonical_json import MAX_SAFE_INTEGER, CanonicalJsonError

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | texts,
    lambda children: st.lists(children) | st.dictionaries(texts, children),
    max_leaves=20,
)


def test_names_are_sorted_by_utf_16_code_units() -> None:
    """The example of RFC 8785 section 3.2.3: an emoji sorts before U+FB33."""
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }

    encoded = canonical_json.encode(value).decode()

    assert list(json.loads(encoded)) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


def test_text_is_escaped_as_little_as_the_rfc_says() -> None:
    """The string of RFC 8785 section 3.2.2: short escapes, lower-case hex, the rest as it is."""
    value = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"

    assert canonical_json.encode(value) == (b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"')


def test_no_space_stands_between_the_parts() -> None:
    value: dict[str, object] = {"b": [1, True, None, {}], "a": {"d": [], "c": "x"}}

    assert canonical_json.encode(value) == b'{"a":{"c":"x","d":[]},"b":[1,true,null,{}]}'


@given(value=values)
def test_what_is_encoded_reads_back_as_the_same_value(value: object) -> None:
    encoded = canonical_json.encode(value)

    assert json.loads(encoded) == value
    assert canonical_json.encode(json.loads(encoded)) == encoded


@given(members=st.dictionaries(texts, st.integers(-9, 9)), seed=st.randoms())
def test_the_order_of_insertion_does_not_matter(members: dict[str, int], seed: Random) -> None:
    names = list(members)
    seed.shuffle(names)

    assert canonical_json.encode({name: members[name] for name in names}) == canonical_json.encode(
        members
    )


class Word(StrEnum):
    FILLED = "FILLED"


class Number(IntEnum):
    TWO = 2


def test_enum_members_are_written_as_their_values() -> None:
    assert canonical_json.encode([Word.FILLED, Number.TWO, True]) == b'["FILLED",2,true]'


@pytest.mark.parametrize(
    ("value", "path", "fault"),
    [
        ({"price": 5000.25}, "$.price", "a float has no exact JSON form"),
        ([1, float("nan")], "$[1]", "a float"),
        (Decimal("1.5"), "$", "a Decimal has no exact JSON form; write it as text"),
        ({"id": 2**53}, "$.id", "9007199254740992 is beyond 2**53 - 1"),
        ({"id": -(2**53)}, "$.id", "beyond 2**53 - 1"),
        ({1: "one"}, "$", "the member name 1 is not text"),
        (b"bytes", "$", "a bytes has no exact JSON form"),
        ("\ud800", "$", "a lone surrogate"),
        ({"\ud800": 1}, "$", "a lone surrogate"),
    ],
)
def test_what_has_no_exact_form_is_refused_with_its_place(
    value: object, path: str, fault: str
) -> None:
    with pytest.raises(CanonicalJsonError) as refused:
        canonical_json.encode(value)

    assert refused.value.path == path
    assert fault in refused.value.fault


def test_the_largest_safe_numbers_pass() -> None:
    assert canonical_json.encode([MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER]) == (
        b"[9007199254740991,-9007199254740991]"
    )


def test_bottomless_nesting_is_refused_and_does_not_exhaust_the_stack() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(CanonicalJsonError, match="nested deeper than 64 levels"):
        canonical_json.encode(value)
