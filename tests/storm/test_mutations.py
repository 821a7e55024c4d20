"""Planted bugs: each is still one of the code that ships, and leaves nothing behind."""

import pytest

from backstop.core import positions
from backstop.storm.mutations import MUTATIONS, Mutation, planted

NAMED = {mutation.name: mutation for mutation in MUTATIONS}


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(NAMED) == len(MUTATIONS) >= 25


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_fits_the_code_and_is_taken_out_again(mutation: Mutation) -> None:
    before = positions.after_read.__code__
    with planted(mutation):
        pass
    assert positions.after_read.__code__ is before
