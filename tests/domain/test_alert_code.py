"""What a person is told names the page that says what to do."""

import pytest

from backstop.domain.alert_code import AlertCode, runbook_page, with_page


@pytest.mark.parametrize("code", AlertCode)
def test_a_code_is_called_what_it_is_called_in_journals(code: AlertCode) -> None:
    assert code.value == code.name


def test_a_message_is_cut_and_its_page_never_is() -> None:
    told = with_page(AlertCode.OVERFILL, "x" * 50, characters_max=10)

    assert told.splitlines() == ["x" * 10, f"What to do: {runbook_page('OVERFILL')}"]


def test_a_code_of_a_later_version_has_its_page_named_all_the_same() -> None:
    """A journal may hold alerts that this version does not know."""
    assert runbook_page("NOT_KNOWN_YET") == "docs/runbook/NOT_KNOWN_YET.md"
