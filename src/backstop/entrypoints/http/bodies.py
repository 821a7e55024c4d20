"""From a request to its decoded body, within a bound of size and time."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from backstop.entrypoints.http.errors import ApiError, ErrorCode
from backstop.entrypoints.http.models import BodyT, decode

BODY_BYTES_MAX = 64 * 1024
"""A hundred times the largest order; what is larger is not one."""

BODY_LIMIT_S = 10
"""How long a body may take to arrive; a caller that stalls holds no memory for longer."""


async def read_body(
    request: Request, body_type: type[BodyT], *, empty: BodyT | None = None
) -> BodyT:
    """Return the decoded body of ``request``; ``empty`` is what no body at all stands for.

    Raises:
        ApiError: it is too large, too slow, or not what it has to be.
    """
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > BODY_BYTES_MAX:
                    raise ApiError(
                        413, ErrorCode.BODY_TOO_LARGE, f"a body has at most {BODY_BYTES_MAX} bytes"
                    )
    except TimeoutError as error:
        raise ApiError(
            408, ErrorCode.BODY_TOO_SLOW, f"the body did not arrive within {BODY_LIMIT_S} s"
        ) from error
    except ClientDisconnect as error:  # nobody hears it; what was asked is not done
        raise ApiError(400, ErrorCode.BODY_INCOMPLETE, "the body broke off") from error
    if not raw and empty is not None:
        return empty
    return decode(bytes(raw), body_type)
