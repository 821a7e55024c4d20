"""The verbs on alerts: read them, acknowledge one, try whether they arrive."""

import asyncio
from typing import Annotated, Any

import typer

from backstop.adapters.alert_courier import AlertCourier, Delivery, Letter
from backstop.adapters.login_name import login_name
from backstop.config.settings import Settings
from backstop.domain.alert_code import runbook_page
from backstop.domain.commands import Severity
from backstop.entrypoints.place import guard_client
from backstop.entrypoints.reading import checked
from backstop.entrypoints.terminal import columns, complain, say, say_json
from backstop.errors import SetupError

TEST_LIMIT_S = 30.0
"""How long the services may take; the slowest of them allow themselves 10 s."""

UNREACHED = (
    "An alert that no channel takes stands in the log and in 'backstop alerts list' only. Check "
    "the addresses in BACKSTOP_ALERT_URLS (https://appriseit.com tells their form) and whether "
    "this machine reaches the services, and repeat: backstop alerts test"
)

alerts = typer.Typer(
    help="Read and acknowledge alerts, and try whether they arrive.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@alerts.command("list")
def list_alerts(
    *,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only those that nobody has acknowledged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the running guard's alerts, newest first."""
    reply = guard_client().call("GET", f"/v1/alerts?open={str(only_open).lower()}")
    body = checked(reply.status, reply.body)
    if as_json:
        say_json(body)
        return
    if not body["alerts"]:
        say("no open alerts" if only_open else "no alerts")
        return
    heads = ("ID", "RAISED", "SEVERITY", "CODE", "READ BY", "SENT TO", "MESSAGE")
    say(columns(heads, map(_row, body["alerts"])))
    say(f"What each code means, and what to do: {runbook_page('CODE')}")


def _row(alert: dict[str, Any]) -> tuple[object, ...]:
    taken = [it["service"] for it in alert["deliveries"] if it["delivered"]]
    return (
        alert["id"],
        alert["raised_at"][:19] + "Z",
        alert["severity"],
        alert["code"],
        alert["acknowledged_by"],
        ",".join(taken) or None,
        alert["message"],
    )


@alerts.command(short_help="Say that you have read an alert; it lifts no latch.")
def ack(
    alert_id: Annotated[
        int, typer.Argument(metavar="ID", min=1, help="As 'alerts list' shows it.")
    ],
    *,
    operator: Annotated[
        str | None, typer.Option(help="Who has read it; your login name if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say that you have read an alert. It lifts no latch: 'backstop resume' does."""
    name = operator or login_name()
    reply = guard_client().call("POST", f"/v1/alerts/{alert_id}/ack?operator={_quoted(name)}")
    body = checked(reply.status, reply.body)
    if as_json:
        say_json(body)
        return
    say(f"alert {body['id']} ({body['code']}) was read by {body['acknowledged_by']}")


def _quoted(text: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415 - only this verb needs it

    return quote(text, safe="")


@alerts.command("test", short_help="Send a test alert to every address that is set.")
def try_alerts(*, as_json: AsJson = False) -> None:
    """Send a test alert to every address of BACKSTOP_ALERT_URLS; needs no running guard.

    Ends with 0 when every channel took it, 1 when one did not.
    """
    settings = Settings.load(require_credentials=False)
    urls = [url.reveal() for url in settings.alert_urls]
    if not urls:
        raise SetupError(
            "BACKSTOP_ALERT_URLS is unset: alerts go to the log and to 'backstop alerts list' "
            "only. Set it to one or more Apprise URLs, such as tgram://TOKEN/CHAT."
        )
    results = asyncio.run(_tried(urls))
    if as_json:
        say_json({"channels": [_result(it) for it in results]})
    else:
        for it in results:
            taken = "took it" if it.delivered else f"did NOT take it: {it.fault}"
            say(f"channel {it.channel} ({it.service})  {taken}")
        for number in range(1, len(urls) + 1):
            if number not in {it.channel for it in results}:
                say(f"channel {number}  did NOT answer within {TEST_LIMIT_S:g} s")
    if len(results) < len(urls) or not all(it.delivered for it in results):
        complain(UNREACHED)
        raise typer.Exit(1)


def _result(delivery: Delivery) -> dict[str, Any]:
    return {
        "channel": delivery.channel,
        "service": delivery.service,
        "delivered": delivery.delivered,
        "fault": delivery.fault,
    }


async def _tried(urls: list[str]) -> list[Delivery]:
    """Send one critical letter, which goes to every channel, and wait for what becomes of it."""
    letter = Letter(
        alert_id=1,
        severity=Severity.CRITICAL,
        title="Backstop: TEST",
        body="This is a test of the alert channels. Nothing has happened.",
    )
    results: list[Delivery] = []
    async with AlertCourier.start(urls) as courier:
        await courier.send(letter)
        courier.finish()
        try:
            async with asyncio.timeout(TEST_LIMIT_S):
                async for delivery in courier.deliveries():
                    results.append(delivery)  # noqa: PERF401 - what came before a time-out counts
        except TimeoutError:
            pass  # the channels that are missing did not answer
    return sorted(results, key=lambda it: it.channel)
