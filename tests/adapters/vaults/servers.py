"""Vault servers on this machine: Amazon's by moto, Microsoft's by the rules that its SDK checks."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import trustme
from moto.server import ThreadedMotoServer

VAULT_HOST = "desk.vault.test"
LOGIN_HOST = "login.vault.test"
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT_SECRET = "client-secret-0123"
AWS_SECRET_KEY = "aws-identity-of-the-test"


@contextmanager
def served(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve on a thread and give the port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def a_frozen_server() -> Iterator[int]:
    """Give the port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# -- Amazon ----------------------------------------------------------------------------------------


@contextmanager
def an_aws() -> Iterator[dict[str, str]]:
    """Give the environment in which Amazon's SDK finds moto's server, and nothing else."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # All of moto's servers in a process share what they keep.
    reset = Request(f"http://{host}:{port}/moto-api/reset", method="POST")
    with urlopen(reset, timeout=30):  # noqa: S310 - as above
        pass
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": AWS_SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.stop()


def aws_owner(environment: dict[str, str]) -> Any:
    """Return a client with which a secret's owner writes it."""
    return boto3.client(
        "secretsmanager",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id="owner",
        aws_secret_access_key="owner",
    )


# -- Amazon, where moto cannot fail as the service does --------------------------------------------


@contextmanager
def an_aws_that_answers(code: str, *, status: int = 400) -> Iterator[str]:
    """Give the address of a service that answers every call with one error."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server asks for
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"__type": code, "message": "for the test"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}"


# -- Microsoft -------------------------------------------------------------------------------------


@dataclass
class AzureWorld:
    """A login server and a vault behind one TLS port, reached through a proxy by their names.

    Attributes:
        secrets: what the vault holds, by name.
        refuse: HTTP status with which the vault answers every authorised read; 0 answers well.
        ends: seconds since 1970 at which the vault says that its secrets end.
        logins: how often a token was handed out.
        challenges: how often a read without a token was sent away with the challenge.
    """

    secrets: dict[str, str] = field(default_factory=dict)
    refuse: int = 0
    expires_in: int = 3600
    ends: int | None = None
    logins: int = 0
    challenges: int = 0
    port: int = 0
    proxy_port: int = 0
    bundle: Path = Path()

    @property
    def vault_url(self) -> str:
        return f"https://{VAULT_HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Return what the SDK finds all of it by."""
        return {
            "AZURE_AUTHORITY_HOST": f"https://{LOGIN_HOST}:{self.port}",
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": "99999999-8888-7777-6666-555555555555",
            "AZURE_CLIENT_SECRET": CLIENT_SECRET,
            "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
            "HTTPS_PROXY": f"http://127.0.0.1:{self.proxy_port}",
            "NO_PROXY": "",
            "REQUESTS_CA_BUNDLE": str(self.bundle),
        }


def _azure_handler(world: AzureWorld) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if "openid-configuration" in path:
                root = f"https://{LOGIN_HOST}:{world.port}/{TENANT}"
                self._say(
                    200,
                    {
                        "issuer": f"{root}/v2.0",
                        "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
                        "token_endpoint": f"{root}/oauth2/v2.0/token",
                    },
                )
            elif path.startswith("/secrets/"):
                self._read_secret(path.split("/")[2])
            else:
                self._say(404, {"error": "no such path"})

        def _read_secret(self, name: str) -> None:
            if self.headers.get("Authorization") != f"Bearer token-{world.logins}":
                world.challenges += 1
                login = f"https://{LOGIN_HOST}:{world.port}/{TENANT}"
                self._say(
                    401,
                    {"error": {"code": "Unauthorized", "message": "no token"}},
                    **{
                        "WWW-Authenticate": f'Bearer authorization="{login}", '
                        f'resource="https://vault.test:{world.port}"'
                    },
                )
            elif world.refuse:
                self._say(world.refuse, {"error": {"code": "Refused", "message": "for the test"}})
            elif name not in world.secrets:
                self._say(404, {"error": {"code": "SecretNotFound", "message": "no such secret"}})
            else:
                identity = f"{world.vault_url}/secrets/{name}/0123456789abcdef0123456789abcdef"
                self._say(
                    200,
                    {
                        "value": world.secrets[name],
                        "id": identity,
                        "attributes": {
                            "enabled": True,
                            "created": 1,
                            "updated": 1,
                            **({} if world.ends is None else {"exp": world.ends}),
                        },
                    },
                )

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if f"client_secret={CLIENT_SECRET}" not in form:
                self._say(401, {"error": "invalid_client", "error_description": "wrong secret"})
                return
            world.logins += 1
            self._say(
                200,
                {
                    "token_type": "Bearer",
                    "expires_in": world.expires_in,
                    "access_token": f"token-{world.logins}",
                },
            )

        def _say(self, status: int, body: Any, **headers: str) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _proxy_handler(world: AzureWorld) -> type[BaseHTTPRequestHandler]:
    """Return a proxy that leads every name to this machine: no name here has an address."""

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            with socket.create_connection(("127.0.0.1", world.port)) as upstream:
                self.wfile.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
                self.wfile.flush()
                back = threading.Thread(target=_pump, args=(upstream, self.connection))
                back.start()
                _pump(self.connection, upstream)
                back.join()
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Proxy


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@contextmanager
def an_azure(folder: Path, **members: Any) -> Iterator[AzureWorld]:
    """Serve a login and a vault with TLS of their own."""
    world = AzureWorld(**members)
    authority = trustme.CA()
    world.bundle = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(world.bundle))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(VAULT_HOST, LOGIN_HOST).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _azure_handler(world))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _proxy_handler(world))
    proxy.daemon_threads = True
    with served(server) as world.port, served(proxy) as world.proxy_port:
        yield world
