"""Who may call the guard: the token, and the names a browser may know it by."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from backstop.entrypoints.api_token import stored_or_made_token, stored_token
from backstop.errors import StateFolderError


async def raw_call(url: str, *lines: str) -> tuple[int, dict[str, str], Any]:
    """Send a request line and headers exactly as written; return status, headers and JSON."""
    host, _, port = url.removeprefix("http://").partition(":")
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode("latin-1"))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in rest)
    return int(first.split()[1]), headers, json.loads(body)


async def test_only_health_is_answered_without_a_token(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        status, _, _ = await raw_call(url, "GET /v1/health HTTP/1.1", "Host: 127.0.0.1")
        assert status == 200

        for path in ("/v1/status", "/v1/orders", "/v1/openapi.json", "/v1/", "/v1/health/"):
            status, headers, body = await raw_call(url, f"GET {path} HTTP/1.1", "Host: 127.0.0.1")
            assert (status, body["error"]["code"]) == (401, "TOKEN_REQUIRED")
            assert headers["www-authenticate"].startswith("bearer")


@pytest.mark.parametrize(
    "value",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        "Basic {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer é",
    ],
)
async def test_a_wrong_token_is_refused(desk: Any, value: str) -> None:
    header = "Authorization: " + value.format(token=desk.TOKEN)
    async with desk.serving(desk.guard()) as url:
        status, _, _ = await raw_call(url, "GET /v1/status HTTP/1.1", "Host: 127.0.0.1", header)

    assert status == 401


async def test_two_tokens_in_one_request_are_refused(desk: Any) -> None:
    right = f"Authorization: Bearer {desk.TOKEN}"
    async with desk.serving(desk.guard()) as url:
        status, _, _ = await raw_call(
            url, "GET /v1/status HTTP/1.1", "Host: 127.0.0.1", right, right
        )

    assert status == 401


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:9999", True),
        ("localhost:80", True),
        ("LOCALHOST", True),
        ("[::1]:8720", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("192.168.1.7", False),
        ("[::1", False),
        ("", False),
    ],
)
async def test_only_loopback_names_are_answered(desk: Any, host: str, *, allowed: bool) -> None:
    async with desk.serving(desk.guard()) as url:
        status, _, body = await raw_call(url, "GET /v1/health HTTP/1.1", f"Host: {host}")

    assert (status == 200) is allowed
    assert allowed or body["error"]["code"] == "HOST_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:8720", True),
        ("http://127.0.0.1:3000", False),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("http://127.0.0.1:8720/", False),
        ("ftp://127.0.0.1:8720", False),
    ],
)
async def test_pages_of_other_origins_are_refused(desk: Any, origin: str, *, allowed: bool) -> None:
    async with desk.serving(desk.guard()) as url:
        status, _, body = await raw_call(
            url, "GET /v1/health HTTP/1.1", "Host: 127.0.0.1:8720", f"Origin: {origin}"
        )

    assert (status == 200) is allowed
    assert allowed or body["error"]["code"] == "ORIGIN_NOT_ALLOWED"


async def test_answers_are_not_cached_and_do_not_name_the_server(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        _, headers, _ = await raw_call(url, "GET /v1/health HTTP/1.1", "Host: localhost")

    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


async def test_no_page_of_a_browser_can_hold_an_answer_of_the_guard(desk: Any) -> None:
    """Also a refusal: what a page can load it can guess at."""
    async with desk.serving(desk.guard()) as url:
        for path in ("/v1/health", "/v1/status"):
            _, headers, _ = await raw_call(url, f"GET {path} HTTP/1.1", "Host: localhost")

            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["x-content-type-options"] == "nosniff"


async def test_a_path_written_differently_is_not_the_open_one(desk: Any) -> None:
    async with desk.serving(desk.guard()) as url:
        for path in ("/v1/%68ealth", "//v1/health", "/v1/./health", "/v1/health%00", "/v1/Health"):
            status, _, _ = await raw_call(url, f"GET {path} HTTP/1.1", "Host: localhost")

            assert status == 401


def test_a_made_token_is_kept_for_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "state"

    token = stored_or_made_token(folder)

    assert len(token) >= 32
    assert stat.S_IMODE((folder / "api_token").stat().st_mode) == 0o600
    assert stored_or_made_token(folder) == token
    assert stored_token(folder) == token
    assert [entry.name for entry in folder.iterdir()] == ["api_token"]


def test_two_state_folders_have_different_tokens(tmp_path: Path) -> None:
    assert stored_or_made_token(tmp_path / "a") != stored_or_made_token(tmp_path / "b")


def test_a_token_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "api_token").write_text("copied\n")

    assert stored_or_made_token(tmp_path) == "copied"


def test_an_empty_token_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "api_token").write_text("\n")

    assert stored_token(tmp_path) is None
    assert stored_or_made_token(tmp_path)


def test_a_state_folder_that_is_a_file_is_blamed_and_not_its_token(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    for read in (stored_or_made_token, stored_token):
        with pytest.raises(StateFolderError) as refused:
            read(file)
        assert str(refused.value).startswith(f"{file} is a file, and the state needs a folder")
        assert "token" not in str(refused.value).lower()


def test_a_state_folder_that_cannot_be_made_is_blamed_and_not_its_token(tmp_path: Path) -> None:
    folder = tmp_path / "file" / "state"
    (tmp_path / "file").write_text("")

    with pytest.raises(StateFolderError) as refused:
        stored_or_made_token(folder)
    assert str(folder) in str(refused.value)
    assert "token" not in str(refused.value).lower()


def test_a_folder_that_cannot_hold_a_token_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateFolderError, match="BACKSTOP_STATE_DIR"):
        stored_or_made_token(tmp_path / "file" / "state")
