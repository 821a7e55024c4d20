"""A secret prints as stars wherever it ends up."""

import copy
import json
import pickle
from dataclasses import asdict, dataclass

import msgspec
import pytest

from backstop.config.secret import STARS, Secret, stars
from backstop.errors import InvariantError

VALUE = "tell-nobody"


@dataclass
class Holder:
    key: Secret


class Record(msgspec.Struct):
    key: Secret


def test_only_reveal_gives_the_value() -> None:
    assert Secret(VALUE).reveal() == VALUE


@pytest.mark.parametrize(
    "text",
    [
        str(Secret(VALUE)),
        repr(Secret(VALUE)),
        f"{Secret(VALUE)}",
        f"{Secret(VALUE)!r:>30}",
        f"{Secret(VALUE):>30}",
        f"{Secret(VALUE)!s}",
        "%s %r" % (Secret(VALUE), Secret(VALUE)),  # noqa: UP031 - this way is tested too
        "{}".format(Secret(VALUE)),  # noqa: UP032 - this way is tested too
        str({"key": [Secret(VALUE)]}),
        repr(Holder(Secret(VALUE))),
        str(asdict(Holder(Secret(VALUE)))),
        repr(Record(Secret(VALUE))),
        str(msgspec.structs.asdict(Record(Secret(VALUE)))),
        json.dumps({"key": Secret(VALUE)}, default=stars),
        msgspec.json.encode(Record(Secret(VALUE)), enc_hook=stars).decode(),
        repr(pickle.dumps(Holder(Secret(VALUE)))),
        repr(pickle.loads(pickle.dumps(Secret(VALUE)))),  # noqa: S301 - our own bytes
        str(dir(Secret(VALUE))),
    ],
)
def test_every_text_form_hides_the_value(text: str) -> None:
    assert VALUE not in text


def test_the_stars_do_not_tell_the_length() -> None:
    assert str(Secret("a")) == str(Secret("a" * 100)) == STARS


def test_json_without_a_hook_refuses_instead_of_leaking() -> None:
    with pytest.raises(TypeError) as by_json:
        json.dumps(Secret(VALUE))
    with pytest.raises(TypeError) as by_msgspec:
        msgspec.json.encode(Secret(VALUE))

    assert VALUE not in str(by_json.value) + str(by_msgspec.value)


def test_the_hook_is_for_secrets_only() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        stars(object())


def test_it_has_no_dictionary_to_dump() -> None:
    with pytest.raises(TypeError):
        vars(Secret(VALUE))


def test_copies_keep_the_value() -> None:
    secret = Secret(VALUE)

    assert copy.copy(secret) is secret
    assert copy.deepcopy({"key": secret})["key"].reveal() == VALUE


def test_a_pickled_secret_lost_its_value() -> None:
    travelled = pickle.loads(pickle.dumps(Secret(VALUE)))  # noqa: S301 - our own bytes

    with pytest.raises(InvariantError, match="its value did not travel"):
        travelled.reveal()
    assert travelled != Secret("")
    assert travelled == travelled  # noqa: PLR0124 - itself and nothing else
    assert len({travelled, Secret("")}) == 2


def test_equal_values_are_equal() -> None:
    assert Secret("größe") == Secret("größe")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
