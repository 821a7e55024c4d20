"""Strikes secrets out of every answer: the second line behind views that never hold one."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class WithoutSecrets:
    """Passes answers on, whole ones and streams alike, with stars where a secret stood.

    A stream is looked at message by message: its events are written whole.
    """

    def __init__(self, app: ASGIApp, *, strike: Callable[[bytes], bytes]) -> None:
        self._app = app
        self._strike = strike

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: Message | None = None  # the head waits for the body, whose length it tells

        async def pass_on(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                held = message
                return
            if message["type"] == "http.response.body":
                before = message.get("body", b"")
                body = self._strike(before)
                if held is not None:
                    await send(_of_length(held, before=len(before), now=len(body)))
                    held = None
                message = {**message, "body": body}
            await send(message)

        await self._app(scope, receive, pass_on)


def _of_length(head: Message, *, before: int, now: int) -> Message:
    """Return the head with the length of the struck body where it told that of the whole one."""
    if before == now:
        return head
    headers = [
        (name, str(now).encode() if (name, value) == _length(before) else value)
        for name, value in head.get("headers", ())
    ]
    return {**head, "headers": headers}


def _length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()
