"""The gateway in the guard's process: loaded only when it is wanted, and never the guard's end."""

import asyncio
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.app.desk import PATIENCE_S, Desk

from backstop.entrypoints.gateway.server import CONNECTIONS_MAX
from backstop.entrypoints.gateway_door import GatewayDoor
from backstop.errors import SetupError

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOADED = """
import sys
import backstop.entrypoints.daemon, backstop.entrypoints.http.server
words = ("projectx_server.", "entrypoints.gateway.", "aiohttp.web_app")
print([it for it in sys.modules if any(word in it for word in words)])
"""
NAMES_OF_METRICS = "backstop.adapters.projectx_server.hub_limits"


async def pinged(http: aiohttp.ClientSession, port: int) -> str:
    async with http.get(f"http://127.0.0.1:{port}/api/Status/ping") as answer:
        return await answer.text()


async def test_a_guard_without_a_gateway_loads_nothing_of_it() -> None:
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )

    assert ended.stdout.strip() in {"[]", f"['{NAMES_OF_METRICS}']"}


async def test_a_gateway_that_cannot_begin_is_told_of_and_the_guard_goes_on(desk: Desk) -> None:
    async with desk.guard() as guard:
        folder: Path = guard.manager.settings.state_folder
        (folder / "gateway.key").mkdir()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            door = GatewayDoor(guard.manager, listener)

            await door.open()
            await door.close()
            assert listener.fileno() == -1, "who comes is not left waiting"

        assert "gateway.key" in guard.manager.components["gateway for bots"]
        await guard.enter()
        assert guard.position() == 1


async def test_too_many_connections_are_closed_and_the_others_are_served(desk: Desk) -> None:
    async with desk.guard(ready=False) as guard:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            door = GatewayDoor(guard.manager, listener)
            await door.open()
            try:
                async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_S):
                    assert await pinged(http, port) == "pong"
                    opened = [
                        await asyncio.open_connection("127.0.0.1", port)
                        for _ in range(CONNECTIONS_MAX)
                    ]
                    reader, _ = opened[-1]
                    assert await reader.read() == b""
                    assert await pinged(http, port) == "pong"
                    for _, writer in opened:
                        writer.close()
                    while not await _answered(port):  # noqa: ASYNC110 - nobody announces it
                        await asyncio.sleep(0.01)
            finally:
                await door.close()


async def _answered(port: int) -> bytes:
    """Return what a new connection hears."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/Status/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_with_a_certificate_bots_are_spoken_to_behind_tls_alone(
    desk: Desk, tmp_path: Path
) -> None:
    certificate, key = a_certificate(tmp_path)
    settings = {"BACKSTOP_TLS_CERT": certificate, "BACKSTOP_TLS_KEY": key}
    async with desk.guard(ready=False, **settings) as guard:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            door = GatewayDoor(guard.manager, listener)
            await door.open()
            try:
                trusted = ssl.create_default_context(cafile=str(certificate))
                async with (
                    aiohttp.ClientSession() as http,
                    http.get(f"https://127.0.0.1:{port}/api/Status/ping", ssl=trusted) as answer,
                ):
                    assert await answer.text() == "pong"
                    with pytest.raises(aiohttp.ClientError):
                        await pinged(http, port)
            finally:
                await door.close()


def a_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of this machine and its key."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate, key = folder / "tls.pem", folder / "tls.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key


@pytest.mark.parametrize("address", ["8721", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:0"])
async def test_an_address_that_is_none_is_refused_by_its_name(desk: Desk, address: str) -> None:
    with pytest.raises(SetupError, match="BACKSTOP_GATEWAY: "):
        desk.settings(BACKSTOP_GATEWAY=address)
