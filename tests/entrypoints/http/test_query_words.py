"""A value in an address that is none is answered with itself and with what is allowed."""

from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from backstop.entrypoints.http.errors import ApiError
from backstop.entrypoints.http.query_words import refused_value


@pytest.mark.parametrize(
    ("method", "path", "field", "words"),
    [
        ("GET", "/v1/orders?limit=0", "limit", "limit is 0; a whole number, 1 to 250, is allowed"),
        ("GET", "/v1/orders?limit=ten", "limit", "limit is ten; a whole number, 1 to 250,"),
        ("GET", "/v1/orders?limit=", "limit", "limit is empty; a whole number,"),
        ("GET", "/v1/orders?state=LOST", "state", "state is LOST; one of INTENDED, SENT, "),
        ("GET", "/v1/alerts?open=perhaps", "open", "open is perhaps; true or false is allowed"),
        ("GET", "/v1/audit/records?from=0", "from", "from is 0; a whole number, 1 to "),
        ("GET", "/v1/events?from=-1", "from", "from is -1; a whole number, 1 to "),
        ("POST", "/v1/alerts/one/ack", "alert_id", "alert_id is one; a whole number, 1 to "),
        ("POST", "/v1/alerts/1/ack?operator=", "operator", "operator is empty; a text of 1 to "),
    ],
)
async def test_a_value_that_is_none_is_told_with_its_range(
    desk: Any, method: str, path: str, field: str, words: str
) -> None:
    async with desk.calling(desk.guard()) as caller:
        status, said = await caller.ask(method, path)

    assert (status, said["error"]["code"]) == (422, "INVALID_VALUE")
    assert said["error"]["field"] == field
    assert words in said["error"]["message"]


async def test_every_value_that_an_address_may_have_has_words(desk: Any) -> None:
    async with desk.calling(desk.guard()) as caller:
        _, document = await caller.ask("GET", "/v1/openapi.json")
        asked = 0
        for path, calls in document["paths"].items():
            for method, call in calls.items():
                for it in call.get("parameters", ()):
                    kinds = [it["schema"], *it["schema"].get("anyOf", ())]
                    if it["in"] != "query" or all(kind.get("type") == "string" for kind in kinds):
                        continue
                    place = path.replace("{", "").replace("}", "")
                    status, said = await caller.ask(method.upper(), f"{place}?{it['name']}=~")
                    asked += 1
                    assert status == 422, (path, it)
                    assert said["error"]["message"].startswith(f"{it['name']} is ~; ")
                    assert said["error"]["message"].endswith(" is allowed")
    assert asked


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (int, "how_many is ~; a whole number is allowed"),
        (Annotated[int, Query(ge=1)], "how_many is ~; a whole number is allowed"),
        (Annotated[int, Query(ge=1, le=9)], "how_many is ~; a whole number, 1 to 9, is allowed"),
        (Annotated[str, Query(pattern="^a$")], "how_many is ~; a text is allowed"),
    ],
)
async def test_a_value_without_bounds_is_told_without_a_range(terms: Any, words: str) -> None:
    async def counted(how_many: int) -> int:
        return how_many

    counted.__annotations__["how_many"] = terms
    api = FastAPI()
    api.get("/")(counted)
    said: list[ApiError] = []

    @api.exception_handler(RequestValidationError)
    async def refused(request: Request, error: RequestValidationError) -> Response:
        said.append(refused_value(request, error))
        return Response(status_code=422)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: object) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"how_many=~"}
    await api(scope | {"headers": []}, receive, send)

    assert [str(it) for it in said] == [words]
