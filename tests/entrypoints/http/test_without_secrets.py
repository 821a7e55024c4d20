"""The second line of the API: no answer, whole or streamed, lets a registered secret out."""

from starlette.types import Message, Receive, Scope, Send

from backstop.adapters.log import STARS, Redactor
from backstop.config.secret import Secret
from backstop.entrypoints.http.without_secrets import WithoutSecrets

CANARY = "canary-1e62aa-api"


async def answered(*bodies: bytes, length: int | None) -> list[Message]:
    """Return what leaves for an app that says ``bodies``."""
    redactor = Redactor()
    redactor.register(Secret(CANARY))

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        heads = [(b"content-type", b"text/plain")]
        if length is not None:
            heads.append((b"content-length", str(length).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": heads})
        for number, body in enumerate(bodies, start=1):
            more = number < len(bodies)
            await send({"type": "http.response.body", "body": body, "more_body": more})

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(dict(message))

    await WithoutSecrets(app, strike=redactor.redact_bytes)({"type": "http"}, receive, send)
    return sent


async def test_a_whole_answer_is_struck_and_tells_its_new_length() -> None:
    body = f'{{"message":"refused for {CANARY}"}}'.encode()

    head, said = await answered(body, length=len(body))

    assert said["body"] == f'{{"message":"refused for {STARS}"}}'.encode()
    assert (b"content-length", str(len(said["body"])).encode()) in head["headers"]


async def test_every_message_of_a_stream_is_struck() -> None:
    head, *said = await answered(b"data: 1\n\n", f"data: {CANARY}\n\n".encode(), length=None)

    assert [it["body"] for it in said] == [b"data: 1\n\n", f"data: {STARS}\n\n".encode()]
    assert head["headers"] == [(b"content-type", b"text/plain")]


async def test_an_answer_without_a_secret_is_passed_on_as_it_is() -> None:
    body = "größe \udcff".encode("utf-8", errors="surrogateescape")

    head, said = await answered(body, length=len(body))

    assert said["body"] is body
    assert (b"content-length", str(len(body)).encode()) in head["headers"]
