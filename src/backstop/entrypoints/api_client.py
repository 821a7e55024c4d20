"""Asks the running guard: a small client for the command line, standard library only."""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from msgspec import Struct

from backstop.errors import BackstopError, SetupError

CALL_LIMIT_S = 5
"""The guard answers within milliseconds; one that does not is stuck, and that is the answer."""

ANSWER_BYTES_MAX = 32 * 1024 * 1024


class Reply(Struct, frozen=True, kw_only=True):
    """Status and decoded JSON body of one answer."""

    status: int
    body: Any


class GuardRefusedError(BackstopError):
    """The guard answered, and its answer is an error of ours: token, input, or a bug."""


class GuardClient:
    """Calls one guard.

    Args:
        host: where it listens.
        port: likewise.
        token: its API token.
        certificate: what its TLS certificate is checked against; None where it speaks plain HTTP.
        limit_s: how long one call may take.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str,
        certificate: Path | None,
        limit_s: float = CALL_LIMIT_S,
    ) -> None:
        self._host = host
        self._port = port
        self._token = token
        self._certificate = certificate
        self._limit_s = limit_s

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        """Make one call and return its answer, whatever its status.

        Raises:
            SetupError: nobody answers there, or it is not a guard.
            GuardRefusedError: the token is not this guard's.
        """
        connection = self._connection()
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Authorization": f"Bearer {self._token}"},
            )
            answer = connection.getresponse()
            raw = answer.read(ANSWER_BYTES_MAX)
            reply = Reply(status=answer.status, body=json.loads(raw))
        except TimeoutError as error:
            raise SetupError(
                f"The guard at {self._host}:{self._port} accepted the call but did not answer "
                f"within {self._limit_s:g} s: it is stuck or stopped."
            ) from error
        except (http.client.HTTPException, ssl.SSLError, ValueError) as error:
            raise SetupError(
                f"What answers at {self._host}:{self._port} is not a guard: {error}. "
                "Check BACKSTOP_LISTEN and BACKSTOP_TLS_CERT."
            ) from error
        except OSError as error:
            raise SetupError(
                f"No guard answers at {self._host}:{self._port} ({error.strerror or error}). "
                "Start one with 'backstop run', or check BACKSTOP_LISTEN."
            ) from error
        finally:
            connection.close()
        if reply.status == http.HTTPStatus.UNAUTHORIZED:
            raise GuardRefusedError(
                f"The guard at {self._host}:{self._port} does not accept this token. Check "
                "BACKSTOP_API_TOKEN, or BACKSTOP_STATE_DIR: it keeps the token in api_token."
            )
        return reply

    def _connection(self) -> http.client.HTTPConnection:
        if self._certificate is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._limit_s)
        return http.client.HTTPSConnection(
            self._host,
            self._port,
            timeout=self._limit_s,
            context=ssl.create_default_context(cafile=str(self._certificate)),
        )
