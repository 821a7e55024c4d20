"""Calls made up from the description of the interface itself, right ones and wrong ones.

Nothing that a caller says makes the guard fail, every answer is one that the description names,
and what was refused has changed nothing. ``make fuzz`` looks for longer.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from tests.entrypoints.http.target import KNOWN_BOT, KNOWN_ORDER, Target, a_target

from backstop.entrypoints.http.app import make_api

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
"""Of each call, right and wrong alike."""

CALL_LIMIT_S = 30
WITHOUT_END = "/v1/events"
"""A stream is no answer that could be held against a schema."""

UNWELL = "/v1/health"
"""The one call whose good answer may be a 503: after a halt, for example."""

KNOWN = {
    "client_order_id": KNOWN_ORDER,
    "bot_id": KNOWN_BOT,
    "symbol": "MES",
    "alert_id": 1,
    "liquidation_id": "1",
    "seq": 1,
}
"""Names that exist: a caller who only makes up names does not get far."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

MALFORMED = {
    "TOKEN_REQUIRED",
    "BODY_TOO_LARGE",
    "MALFORMED_JSON",
    "MISSING_MEMBER",
    "UNKNOWN_MEMBER",
    "INVALID_VALUE",
}

_DOCUMENT: dict[str, Any] = make_api(None).openapi()  # type: ignore[arg-type]
_OPERATIONS = {
    operation.label: operation
    for operation in (
        it.ok() for it in schemathesis.openapi.from_dict(_DOCUMENT).get_all_operations()
    )
    if operation.path != WITHOUT_END
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        with a_target(folder, EXECUTION_TIMEOUT_SECONDS=1) as made:
            yield made


def calls(operation: Any) -> st.SearchStrategy[Any]:
    """Return calls of one kind: as described, and otherwise; of things that exist, and not."""

    def with_names(case: Any, names: set[str]) -> Any:
        for name in names & (case.path_parameters or {}).keys():
            case.path_parameters[name] = KNOWN[name]
        if isinstance(case.body, dict) and "symbol" in names & case.body.keys():
            case.body["symbol"] = KNOWN["symbol"]
        return case

    made = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )
    return st.builds(with_names, made, st.sets(st.sampled_from(sorted(KNOWN))))


def is_malformed(response: Any) -> bool:
    """Say whether a call was refused before anybody had to decide: nothing of it is on record."""
    if response.status_code not in {401, 403, 413, 422}:
        return False
    return response.json().get("error", {}).get("code") in MALFORMED


@pytest.mark.timeout(600)
@pytest.mark.parametrize("label", sorted(_OPERATIONS))
def test_whatever_is_asked_the_answer_is_described_and_a_no_changes_nothing(
    target: Target, label: str
) -> None:
    operation = _OPERATIONS[label]
    understood = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=calls(operation))
    def ask(case: Any) -> None:
        nonlocal understood
        before = target.state()
        response = case.call(base_url=target.url, headers=target.headers, timeout=CALL_LIMIT_S)
        unwell = operation.path == UNWELL and response.status_code == 503
        case.validate_response(response, checks=CHECKS[1:] if unwell else CHECKS)
        understood += not is_malformed(response)
        if response.status_code >= 400:
            assert target.state() == before, response.json()

    before = target.wishes()
    ask()
    asked = 0 if operation.method.upper() == "GET" else understood
    assert target.wishes() - before <= asked
