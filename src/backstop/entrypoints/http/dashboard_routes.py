"""Serves the dashboard: a page for people that anybody may load and that shows nothing by itself.

Its data it gets like every other caller, over the interface and with the token. That stands in the
part of the address behind ``#``, which no browser sends to a server.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from starlette.responses import Response

from backstop.entrypoints.http.dashboard_files import DashboardFile

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    # Text of the venue or of a bot can never become markup or code, whatever a view does with it.
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Asked for again each time, and answered without a body while it is the same: a page of an
    # earlier version never speaks with a newer guard.
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}


def add_dashboard_routes(api: FastAPI, files: Mapping[str, DashboardFile]) -> None:
    """Serve ``files`` at their paths; they are no part of the interface's description."""
    for path, file in files.items():
        api.add_route(path, _sender(file), methods=["GET"], include_in_schema=False)


def _sender(file: DashboardFile) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        headers = {**HEADERS, "etag": file.etag}
        if _has_it(request.headers.get("if-none-match", ""), file.etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(file.content, media_type=file.media_type, headers=headers)
        headers["content-encoding"] = "gzip"
        return Response(file.compressed, media_type=file.media_type, headers=headers)

    return send


def _has_it(known: str, etag: str) -> bool:
    """Tell whether an ``If-None-Match`` header names ``etag``."""
    return etag in {it.strip() for it in known.split(",")}
