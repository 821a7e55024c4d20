"""A secret is planted in every source, and hunted in everything that a run shows or leaves."""

import asyncio
import json
import os
import signal
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.acceptance.conftest import API_KEY, PATIENCE_S, TOKEN, USER, Bench, end_group
from tests.acceptance.hunting import files, forms, found_in, listings
from tests.adapters.vaults.servers import (
    AWS_SECRET_KEY,
    CLIENT_SECRET,
    AzureWorld,
    an_aws,
    an_azure,
    aws_owner,
)

CANARIES = {
    "the key in .env.local": API_KEY,
    "the API token in the environment": TOKEN,
    "an alert address in the environment": "canary-8c21d0-alert",
    "the spare key in a secret file": "canary-4be7f1-spare",
    "a token in a vault": "canary-90ad3c-vault+token/=",
}
ALERTS, SPARE, VAULT = list(CANARIES.values())[2:]

ENTRY = {
    "client_order_id": "c1",
    "symbol": "MES",
    "side": "BUY",
    "quantity": 1,
    "type": "MARKET",
    "stop_loss_price": "5000",
}


class Planted:
    """The folder of a run with its sources, and what the run said."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.secrets = bench.folder / "secrets"
        self.site = bench.folder / "site"
        self.env_file = bench.folder / ".env.local"
        self.said: list[tuple[str, bytes]] = []
        self._plant()

    def _plant(self) -> None:
        self.env_file.write_text(f"TOPSTEPX_API_KEY={API_KEY}\n")
        self.env_file.chmod(0o600)
        self.secrets.mkdir()
        spare = self.secrets / "topstepx-emergency-api-key"
        spare.write_text(f"{SPARE}\n")
        spare.chmod(0o600)
        info = self.site / "acme_vault-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-vault\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[backstop.vaults]\nacme = acme_vault:make\n")
        (self.site / "acme_vault.py").write_text(
            "class Acme:\n"
            "    name, timeout_s = 'Acme vault', 5.0\n"
            "    def read(self, credential):\n"
            f"        if credential == 'TOPSTEPX_JWT': return {VAULT!r}\n"
            f"        raise RuntimeError({VAULT!r})\n"
            "def make(settings): return Acme()\n"
        )
        self.bench.settings |= {
            "TOPSTEPX_API_KEY": "",
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BACKSTOP_VAULTS": "acme",
            "BACKSTOP_SECRETS_DIR": str(self.secrets),
            "BACKSTOP_ALERT_URLS": f"json://127.0.0.1:9/{ALERTS}",  # nobody listens there
        }

    async def run(self, *arguments: str, **settings: str) -> int | None:
        done = await self.bench.call(*arguments, **settings)
        self.said.append((f"the output of {arguments}", (done.out + done.err).encode()))
        return done.code

    @asynccontextmanager
    async def guard(self, **settings: str) -> AsyncIterator[tuple[int, str]]:
        """Run a guard; yields its process group and its address, and keeps all that it says."""
        process = await self.bench.start("run", **settings)
        assert process.stdout is not None
        assert process.stderr is not None
        printed = bytearray()
        reading = [
            asyncio.create_task(_read_into(it, printed)) for it in (process.stdout, process.stderr)
        ]
        try:
            async with asyncio.timeout(PATIENCE_S):
                while b"\nAPI" not in printed or b"token:" not in printed:
                    assert process.returncode is None, "it has ended"
                    await asyncio.sleep(0.02)
            address = printed[printed.index(b"\nAPI") :].split()[1].decode()
            yield process.pid, address
        except BaseException as error:
            error.add_note(f"exit code {process.returncode}; it said:\n{printed.decode()}")
            raise
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await asyncio.gather(*reading)
            finally:
                end_group(process.pid)
                await process.wait()
            self.said.append(("the output of the guard", bytes(printed)))

    async def ask(self, method: str, url: str, body: Any = None, *, token: str = TOKEN) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.bench.session.request(method, url, json=body, headers=headers) as answer:
            text = await answer.read()
            heads = repr(answer.raw_headers).encode()
            self.said.append((f"the answer to {method} {url}", heads + text))
            return answer.status

    def leaks(self, canaries: Mapping[str, str] = CANARIES) -> list[str]:
        left = files(self.bench.folder, planted=(self.env_file, self.secrets, self.site))
        return found_in([*self.said, *left], canaries)


async def _read_into(stream: asyncio.StreamReader, printed: bytearray) -> None:
    while data := await stream.read(65_536):
        printed += data


async def _misfortunes(
    here: Planted, venue_url: str, address: str, *, echoed: tuple[str, str] = (API_KEY, SPARE)
) -> None:
    """Have every kind of call, good and bad, and a venue that repeats what it was sent."""
    echo = {
        "on": "Order/place",
        "act": "error_code",
        "code": 2,
        "message": f"order refused for key {echoed[0]} and {echoed[1]}",
        "accepted": False,
    }
    async with here.bench.session.post(f"{venue_url}/_simulator/faults", json=echo) as taken:
        assert taken.status < 300, await taken.text()
    async with asyncio.timeout(PATIENCE_S):
        # Refused before it is sent while there is no quote of the contract yet.
        while await here.ask("POST", f"{address}/v1/orders", ENTRY) != 201:  # noqa: ASYNC110 - it says
            await asyncio.sleep(0.05)
    for path in (
        *("health", "status", "positions", "exposure", "correlations", "orders", "alerts"),
        *("recovery", "openapi.json", "audit/checkpoint", "orders/c1", "orders/none", "nothing"),
    ):
        await here.ask("GET", f"{address}/v1/{path}")
    assert await here.ask("GET", f"{address}/v1/status", token=SPARE) == 401
    assert await here.ask("POST", f"{address}/v1/orders", {"symbol": API_KEY}) == 422


@pytest.mark.scenario("L2")
async def test_no_secret_leaves_a_run_with_errors_of_every_kind(bench: Bench) -> None:
    here = Planted(bench)
    async with bench.venue() as venue:
        async with here.guard(DRY_RUN="0", EXECUTE="1") as (group, address):
            await _active(here, address)
            await _misfortunes(here, venue.url, address)
            here.said.extend(listings(group))
            guard = _guard_of(group)
            os.kill(guard, signal.SIGABRT)  # a crash of the interpreter, with a dump of its stacks
            await _until(lambda: list((bench.folder / "state" / "crash").glob("*.json")))
            await _until(lambda: _guard_of(group) not in {0, guard})
            here.said.extend(listings(group))
        for arguments in (
            ("credentials", "check", "--login", "--json"),
            ("credentials", "check"),
            ("alerts", "test"),
            ("audit", "orders"),
            ("audit", "verify"),
            ("recover", "--dry-run"),
            ("liquidate", "--yes", "--reason", "a drill"),
            ("run", "--set", "MAX_ORDER_QUANTITY=none"),
        ):
            await here.run(*arguments, DRY_RUN="0", EXECUTE="1")
        bad = {"TOPSTEPX_JWT": f"'{VAULT}'", "AWS_SECRET_ID": f"{VAULT} x"}
        assert await here.run("run", **bad) == 2
        here.env_file.chmod(0o644)
        assert await here.run("run", DRY_RUN="0", EXECUTE="1") == 2
        assert b".env.local can be read by others" in here.said[-1][1]

    assert b"order refused for key ********" in b"".join(text for _, text in here.said)
    assert here.leaks() == []


async def test_a_key_file_that_everybody_can_read_stops_the_start(bench: Bench) -> None:
    here = Planted(bench)
    path = here.secrets / "topstepx-api-key"
    path.write_text(API_KEY)
    path.chmod(0o644)
    here.env_file.unlink()

    code = await here.run("run", TOPSTEPX_API_URL="http://127.0.0.1:9")

    said = b"".join(text for _, text in here.said)
    assert code == 2
    assert f"{path} has mode 0644 and can be read by others".encode() in said
    assert here.leaks() == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o644, "it is the owner's to change"


# -- every vault -----------------------------------------------------------------------------------

KEYRING_MODULE = """
from keyring.backend import KeyringBackend
class Drawer(KeyringBackend):
    priority = 1
    def get_password(self, service, name):
        import json, pathlib
        return json.loads(pathlib.Path(__file__).with_name("ring.json").read_text()).get(name)
    def set_password(self, service, name, value):
        raise NotImplementedError
"""
IN_VAULTS = {
    "the key in Azure": "canary-azure-77c1e0-key",
    "the spare key in AWS": "canary-aws-15b0ff-spare",
    "a token in the keyring": "canary-ring-3ac9d2-token",
    "our identity at Azure": CLIENT_SECRET,
    "our identity at AWS": AWS_SECRET_KEY,
}
AZURE_KEY, AWS_SPARE, RING_TOKEN = list(IN_VAULTS.values())[:3]


@contextmanager
def _filled_vaults(here: Planted) -> Iterator[tuple[AzureWorld, Callable[[str], object]]]:
    """Plant one secret in Azure, AWS and a keyring's file each; gives what changes the first two.

    Nothing else has them, so a guard that trades has asked all three.
    """
    with an_azure(here.site, secrets={"topstepx-api-key": AZURE_KEY}) as azure, an_aws() as aws:
        owner = aws_owner(aws)
        spare = json.dumps({"TOPSTEPX_EMERGENCY_API_KEY": AWS_SPARE})
        owner.create_secret(Name="desk", SecretString=spare)
        (here.site / "drawer.py").write_text(KEYRING_MODULE)
        ring = {"topstepx-username": USER, "TOPSTEPX_JWT": RING_TOKEN}
        (here.site / "ring.json").write_text(json.dumps(ring))
        here.env_file.unlink()
        for path in here.secrets.iterdir():
            path.unlink()
        here.bench.settings |= {
            **azure.environment,
            **aws,
            "TOPSTEPX_USERNAME": "",
            "BACKSTOP_VAULTS": "",
            "AZURE_KEY_VAULT_URL": azure.vault_url,
            "AWS_SECRET_ID": "desk",
            "BACKSTOP_KEYRING_SERVICE": "backstop",
            "PYTHON_KEYRING_BACKEND": "drawer.Drawer",
        }
        yield (
            azure,
            lambda text: owner.put_secret_value(SecretId="desk", SecretString=text),
        )


async def test_no_secret_of_any_vault_leaves_a_run(bench: Bench) -> None:
    here = Planted(bench)
    with _filled_vaults(here) as (azure, rewrite):
        async with bench.venue(api_key=AZURE_KEY) as venue:
            async with here.guard(DRY_RUN="0", EXECUTE="1") as (group, address):
                await _active(here, address)
                await _misfortunes(here, venue.url, address, echoed=(AZURE_KEY, AWS_SPARE))
                here.said.extend(listings(group))
                guard = _guard_of(group)
                os.kill(guard, signal.SIGABRT)
                await _until(lambda: list((bench.folder / "state" / "crash").glob("*.json")))
            await here.run("credentials", "check", "--login", "--json")
            found = json.loads(here.said[-1][1].partition(b"\n}")[0] + b"\n}")
        sources = {it["name"]: it["source"] for it in found["credentials"]}
        # What is not the JSON it should be, refused, or gone: told without a word of it.
        rewrite(AWS_SPARE)
        azure.secrets["topstepx-api-key"] = f"'{AZURE_KEY}'"
        assert await here.run("credentials", "check") == 2
        assert b"is not the JSON object it should be" in here.said[-1][1]
        assert b"has quotation marks around it" in here.said[-1][1]
        assert await here.run("run") == 2
        # The token of the keyring replaces a key that nobody has.
        assert await here.run("credentials", "check", AZURE_CLIENT_SECRET=VAULT) == 0
        assert b"our identity was not accepted" in here.said[-1][1]

    assert sources["TOPSTEPX_API_KEY"] == "Azure Key Vault"
    assert sources["TOPSTEPX_EMERGENCY_API_KEY"] == "AWS Secrets Manager"
    assert sources["TOPSTEPX_USERNAME"] == sources["TOPSTEPX_JWT"] == "OS keyring"
    assert b"order refused for key ********" in b"".join(text for _, text in here.said)
    assert here.leaks(IN_VAULTS | {"a wrong identity": VAULT}) == []


# -- the hunt itself -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["a log", "a database", "base64", "a name", "a URL"])
def test_the_hunt_finds_what_was_planted(tmp_path: Path, place: str) -> None:
    match place:
        case "a log":
            (tmp_path / "guard.log").write_text(f"login with {VAULT} failed")
        case "a database":
            with closing(sqlite3.connect(tmp_path / "audit.db")) as database, database:
                database.execute("CREATE TABLE rows (payload TEXT)")
                database.execute("INSERT INTO rows VALUES (?)", (f'{{"message":"{VAULT}"}}',))
        case "base64":
            *_, coded = forms(VAULT)
            (tmp_path / "dump").write_bytes(b"xx" + coded + b"yy")
        case "a name":
            (tmp_path / f"{ALERTS}.txt").write_text("")
        case _:
            (tmp_path / "access").write_text("GET /?t=canary-90ad3c-vault%2Btoken%2F%3D")

    assert len(found_in(files(tmp_path, planted=()), CANARIES)) == 1


async def test_the_hunt_reads_command_lines() -> None:
    sleeper = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        sleeping = {"a word": "sleep"}
        await _until(lambda: found_in(listings(sleeper.pid), sleeping))
    finally:
        end_group(sleeper.pid)
        await sleeper.wait()


# -- helpers ---------------------------------------------------------------------------------------


async def _active(here: Planted, address: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            url = f"{address}/v1/status"
            with_retry = here.bench.session.get(url, headers=headers)
            try:
                async with with_retry as answer:
                    if (await answer.json())["trading_state"] == "ACTIVE":
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def _until(is_true: Any) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while not (found := is_true()):  # noqa: ASYNC110 - other processes decide
            await asyncio.sleep(0.05)
    return found


def _guard_of(group: int) -> int:
    """Return the process of a run that is its guard now; 0 while there is none."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"guard" in words and os.getpgid(int(folder.name)) == group:
                return int(folder.name)
        except OSError:
            continue
    return 0
