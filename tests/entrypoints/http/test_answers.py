"""What a caller is told of a symbol that no contract goes by."""

import pytest
from tests.core.builders import Guard, a_policy

from backstop.entrypoints.http.answers import unknown_symbol


@pytest.mark.parametrize(
    ("symbol", "told"),
    [
        ("FOO", "goes by FOO. Allowed: MES"),
        ("MSE", "goes by MSE, which is in BACKSTOP_INSTRUMENTS. Allowed: MES"),
    ],
)
def test_a_root_that_the_settings_name_and_no_contract_has_is_not_called_allowed(
    symbol: str, told: str
) -> None:
    book = Guard(policy=a_policy(symbols=("MES", "MSE"))).start().book

    assert str(unknown_symbol(book, symbol)) == f"no contract of the gateway {told}"
