"""Request bodies that only the server reads; those shared with the client are in ``wire``."""

from msgspec import Struct


class NoBody(Struct, kw_only=True, rename="camel"):
    """Calls without members: an empty body, ``{}`` and anything else are taken."""


class LoginKeyBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Auth/loginKey``."""

    user_name: str
    api_key: str


class LoginAppBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Auth/loginApp``."""

    user_name: str
    password: str
    device_id: str
    app_id: str
    verify_key: str


class AccountSearchBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Account/search``."""

    only_active_accounts: bool


class ContractSearchBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Contract/search``; a null text matches everything."""

    search_text: str | None
    live: bool


class ContractIdBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Contract/searchById``."""

    contract_id: str


class ContractAvailableBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Contract/available``."""

    live: bool


class AccountBody(Struct, kw_only=True, rename="camel"):
    """Body of the calls that name only an account: searchOpen of orders and positions."""

    account_id: int


class OrderIdBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Order/cancel`` and ``/searchById``."""

    account_id: int
    order_id: int


class OrderSearchBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Order/search``."""

    account_id: int
    start_timestamp: str
    end_timestamp: str | None = None


class TradeSearchBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Trade/search``; the published schema leaves the start optional."""

    account_id: int
    start_timestamp: str | None = None
    end_timestamp: str | None = None


class CloseBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Position/closeContract``."""

    account_id: int
    contract_id: str


class PartialCloseBody(Struct, kw_only=True, rename="camel"):
    """Body of ``POST /api/Position/partialCloseContract``."""

    account_id: int
    contract_id: str
    size: int
