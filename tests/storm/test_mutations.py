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


def test_a_number_is_another_one_inside_and_the_old_one_again_after_it() -> None:
    before = positions.SNAPSHOT_LAG_NS
    with planted(NAMED["believe a snapshot that is older than the events"]):
        assert positions.SNAPSHOT_LAG_NS == 0
    assert before == positions.SNAPSHOT_LAG_NS > 0
