"""Every setting, once: name, kind, unit, default and the reason for it.

The settings are read by this table and documented from it. A default is text, read like any other;
where it follows from other settings, ``default_words`` says how, and ``settings`` derives it.
"""

from msgspec import Struct

from backstop.config import setting_kinds as kinds
from backstop.config.choices import Calendar, Profile
from backstop.config.setting_kinds import Kind
from backstop.domain.external import BreachPolicy, ExternalPositionPolicy, GuardMode

_MILLISECOND_NS = 1_000_000
_SECOND_NS = 1_000 * _MILLISECOND_NS
_MINUTE_NS = 60 * _SECOND_NS


class Setting(Struct, frozen=True, kw_only=True):
    """One setting.

    Attributes:
        name: as in the environment.
        member: the member of ``Settings`` that it becomes.
        kind: how its text is read and what is allowed.
        default: text of the default; None when there is none or it is derived.
        default_words: how a derived default follows, or what unset means.
        unit: of the text; empty for none.
        reason: what it is for, and why the default is what it is.
    """

    name: str
    member: str
    kind: Kind
    default: str | None = None
    default_words: str = ""
    unit: str = ""
    reason: str

    @property
    def may_be_blank(self) -> bool:
        """A blank value means unset; elsewhere it would hide a mistake."""
        return self.default is None and not self.kind.is_number


def _setting(
    name: str,
    member: str,
    kind: Kind,
    reason: str,
    *,
    default: str | None = None,
    default_words: str = "",
    unit: str = "",
) -> Setting:
    return Setting(
        name=name,
        member=member,
        kind=kind,
        default=default,
        default_words=default_words,
        unit=unit,
        reason=reason,
    )


def _component(name: str, member: str, what: str) -> Setting:
    reason = f"Switches {what} on. Off, it is named at start and entries are refused."
    return _setting(name, member, kinds.switch(), reason, default="1")


_GATES = (
    _setting(
        "BACKSTOP_MODE",
        "mode",
        kinds.choice(GuardMode),
        "gatekeeper: entries are sent from here, and trading by anybody else freezes them; "
        "drop-copy: a bot trades with a session of its own, and the guard watches, protects and "
        "judges its orders afterwards.",
        default="gatekeeper",
    ),
    _setting(
        "DRY_RUN",
        "dry_run",
        kinds.switch(),
        "On, nothing is ever sent, liquidation included. On by default: never live by accident.",
        default="1",
    ),
    _setting(
        "EXECUTE",
        "execute",
        kinds.switch(),
        "The second key: orders are sent only with EXECUTE=1 and DRY_RUN=0 together.",
        default="0",
    ),
    _setting(
        "CRITICAL_SYSTEM_ENABLE",
        "critical_system_enable",
        kinds.switch(),
        "Off, Backstop observes only and sends nothing.",
        default="1",
    ),
    _component(
        "EXECUTION_VERIFICATION_ENABLE",
        "execution_verification_enable",
        "the proof of what was executed",
    ),
    _component("DISASTER_RECOVERY_ENABLE", "disaster_recovery_enable", "recovery after a crash"),
    _component(
        "CORRELATION_PROTECTION_ENABLE",
        "correlation_protection_enable",
        "the limits on positions that move together",
    ),
    _setting(
        "ALLOW_UNPROTECTED",
        "allow_unprotected",
        kinds.switch(),
        "Permits entries while a component is switched off.",
        default="0",
    ),
)

_GATEWAY = (
    _setting(
        "TOPSTEPX_API_URL",
        "api_url",
        kinds.gateway_url(),
        "The root of the ProjectX gateway: what comes before /api.",
        default="https://api.topstepx.com",
    ),
    _setting(
        "TOPSTEPX_USER_HUB_URL",
        "user_hub_url",
        kinds.hub_url(),
        "Where orders, trades and positions are pushed.",
        default_words="/hubs/user at the rtc. host of an api. host, else at the gateway itself",
    ),
    _setting(
        "TOPSTEPX_MARKET_HUB_URL",
        "market_hub_url",
        kinds.hub_url(),
        "Where quotes are pushed.",
        default_words="/hubs/market at the rtc. host of an api. host, else at the gateway itself",
    ),
    _setting(
        "BACKSTOP_INSTRUMENTS",
        "symbols",
        kinds.symbols(),
        "The roots that may be traded; an order for any other is refused.",
        default="ES,NQ,MES,MNQ",
    ),
    _setting(
        "BACKSTOP_CALENDAR",
        "calendar",
        kinds.choice(Calendar),
        "cme: the sessions of CME Globex with its holidays, early closes and expiries; "
        "always-open: no session, flat-by or expiry refusals, for the simulator.",
        default="cme",
    ),
    _setting(
        "ENTRIES_UNTIL",
        "entries_until",
        kinds.session_time(),
        "From then on to the end of the session entries are refused and resting ones cancelled; on "
        "a day that closes early, 20 minutes before the close at the latest.",
        default_words="the time of FLAT_BY where that is set, else 15:00 with a topstep profile",
        unit="Chicago time",
    ),
    _setting(
        "FLAT_BY",
        "flat_by",
        kinds.session_time(),
        "From then on to the end of the session positions are closed; on a day that closes early, "
        "15 minutes before the close at the latest.",
        default_words="15:05 with a topstep profile, else unset: positions may be held over",
        unit="Chicago time",
    ),
)

_PROCESS = (
    _setting(
        "BACKSTOP_STATE_DIR",
        "state_folder",
        kinds.path(),
        "Audit, state and keys; one folder for each account, on a local disk.",
        default_words="the user's data folder of this platform",
    ),
    _setting(
        "BACKSTOP_CHECKPOINT_MIRROR",
        "checkpoint_mirror",
        kinds.folder_or_url(),
        "A second place for the signed checkpoints of the audit log, a folder or an address that "
        "takes them by POST; out of reach of whoever could change the state folder.",
        default_words="unset: checkpoints are in the state folder only",
    ),
    _setting(
        "KILL_FILE",
        "kill_file",
        kinds.path(),
        "While this file is there, entries are refused and resting ones are cancelled: a stop that "
        "needs no program. A person resumes after it was taken away.",
        default_words="KILL in the state folder",
    ),
    _setting(
        "BACKSTOP_LISTEN",
        "listen",
        kinds.listen_address(),
        "Where the API listens; on loopback only the own machine reaches it.",
        default="127.0.0.1:8720",
    ),
    _setting(
        "BACKSTOP_GATEWAY",
        "gateway_listen",
        kinds.listen_address(lowest_port=1),
        "Where bots reach the guard by the ProjectX API; 'backstop run --gateway' sets it too.",
        default_words="unset: no gateway",
    ),
    _setting(
        "BACKSTOP_API_TOKEN",
        "api_token",
        kinds.credential(),
        "What callers of the API show.",
        default_words="made at first start and kept in the state folder",
    ),
    _setting(
        "BACKSTOP_TLS_CERT",
        "tls_cert",
        kinds.existing_file(),
        "Certificate of the API, PEM; together with BACKSTOP_TLS_KEY.",
        default_words="unset: plain HTTP",
    ),
    _setting(
        "BACKSTOP_TLS_KEY",
        "tls_key",
        kinds.existing_file(),
        "Private key of the API, PEM; together with BACKSTOP_TLS_CERT.",
        default_words="unset: plain HTTP",
    ),
    _setting(
        "BACKSTOP_ALERT_URLS",
        "alert_urls",
        kinds.alert_urls(),
        "Where alerts go besides the log.",
        default_words="unset: the log only",
    ),
    _setting(
        "BACKSTOP_TEST_DATA",
        "test_data",
        kinds.path(),
        "Recorded market and gateway data for tests and demos that find it.",
        default="../shared/data",
    ),
)

_VERIFICATION = (
    _setting(
        "EXECUTION_TIMEOUT_SECONDS",
        "execution_timeout_ns",
        kinds.duration_ns("0.5", "600", unit_ns=_SECOND_NS),
        "An order without proof for this long is looked up by its tag.",
        default="10",
        unit="seconds",
    ),
    _setting(
        "MAX_SLIPPAGE_TICKS",
        "max_slippage_ticks",
        kinds.number("0", "1000"),
        "Adverse ticks above which an execution is a breach.",
        default="2",
        unit="ticks",
    ),
    _setting(
        "SLIPPAGE_BREACHES_TO_REDUCE",
        "slippage_breaches_to_reduce",
        kinds.whole(1, 1000),
        "Breaches within a session after which only exits pass.",
        default="3",
    ),
)

_RECOVERY = (
    _setting(
        "STATE_PERSISTENCE_INTERVAL_MS",
        "state_persistence_interval_ns",
        kinds.duration_ns("10", "60000", unit_ns=_MILLISECOND_NS),
        "How often the state is written to trading_state.json.",
        default="100",
        unit="milliseconds",
    ),
    _setting(
        "EMERGENCY_LIQUIDATION_THRESHOLD_MINUTES",
        "emergency_liquidation_threshold_ns",
        kinds.duration_ns("0.01", "1440", unit_ns=_MINUTE_NS),
        "After a crash, freeze or suspend longer than this, open positions are liquidated. Below "
        "0.05 a mere restart of the guard takes long enough for that.",
        default="1",
        unit="minutes",
    ),
    _setting(
        "EXTERNAL_POSITION_POLICY",
        "external_position_policy",
        kinds.choice(ExternalPositionPolicy),
        "What happens to a position that Backstop did not open: it gets the stop of "
        "DEFAULT_STOP_TICKS, or its contract is taken flat, or neither. Entries are frozen until a "
        "person resumes, in any case. As a drop copy: to a position that has no stop in time.",
        default="protect",
    ),
    _setting(
        "DROP_COPY_BREACH_POLICY",
        "breach_policy",
        kinds.choice(BreachPolicy),
        "What becomes of an order of a bot that trades by itself and that a limit would have "
        "refused: a person is told; and what works of it is cancelled; and what it has filled is "
        "closed.",
        default="cancel",
    ),
    _setting(
        "DROP_COPY_GRACE_MS",
        "bot_grace_ns",
        kinds.duration_ns("0", "10000", unit_ns=_MILLISECOND_NS),
        "How long a bot that trades by itself has for its own stop, and for one order in the place "
        "of another, before the guard steps in.",
        default="1000",
        unit="milliseconds",
    ),
)

_EXPOSURE = (
    _setting(
        "BACKSTOP_PROFILE",
        "profile",
        kinds.choice(Profile),
        "The rules of a kind of account; sets the defaults of the limits below.",
        default="none",
    ),
    _setting(
        "RISK_BUDGET",
        "risk_budget",
        kinds.dollars("0", "1000000000", above=True),
        "What the account may lose on a one-sigma day; the other limits are shares of it.",
        default_words="10000; with topstep-100k 20000, with topstep-150k 30000",
        unit="risk dollars",
    ),
    _setting(
        "MAX_GROSS_EXPOSURE",
        "max_gross_exposure",
        kinds.dollars("0", "1000000000", above=True),
        "The risk of longs and shorts together.",
        default_words="2 x RISK_BUDGET",
        unit="risk dollars",
    ),
    _setting(
        "MAX_CORRELATION_EXPOSURE",
        "max_correlation_exposure",
        kinds.number("0.0001", "1"),
        "The share of RISK_BUDGET that one bet may take, with all that moves with it.",
        default="0.7",
        unit="share of RISK_BUDGET",
    ),
    _setting(
        "ES_NQ_MAX_COMBINED_EXPOSURE",
        "es_nq_max_combined_exposure",
        kinds.dollars("0", "1000000000", above=True),
        "The risk that the S&P and Nasdaq families may carry together.",
        default_words="5000; with topstep-100k 10000, with topstep-150k 15000",
        unit="risk dollars",
    ),
    _setting(
        "MAX_DIRECTIONAL_SHARE",
        "max_directional_share",
        kinds.number("0.0001", "1"),
        "The share of MAX_GROSS_EXPOSURE that all longs, or all shorts, may take.",
        default="0.5",
        unit="share of MAX_GROSS_EXPOSURE",
    ),
    _setting(
        "EXPOSURE_BREACH_LIQUIDATES",
        "exposure_breach_liquidates",
        kinds.switch(),
        "On, an exposure limit that the market has broken takes the account flat, where everything "
        "in it was measured. Off, a person is told, and orders that would add to it are refused.",
        default="0",
    ),
    _setting(
        "CORRELATION_UPDATE_SECONDS",
        "correlation_update_s",
        kinds.number("1", "3600"),
        "Correlations are computed anew at the latest this often.",
        default="300",
        unit="seconds",
    ),
    _setting(
        "ACCOUNT_HIGH_CLOSE",
        "account_high_close",
        kinds.dollars("0", "1000000000", above=True),
        "The account's best end-of-day balance, from which a trailing loss limit counts.",
        default_words="unset: from complete trades, else the strictest floor",
        unit="dollars",
    ),
)

_ACCOUNT = (
    _setting(
        "ACCOUNT_STARTING_BALANCE",
        "account_starting_balance",
        kinds.dollars("0", "1000000000", above=True),
        "The balance with which the account began; the floor of the trailing loss never rises "
        "above it.",
        default_words="50000, 100000 or 150000 with a topstep profile, else unset",
        unit="dollars",
    ),
    _setting(
        "MAX_DAILY_LOSS",
        "max_daily_loss",
        kinds.dollars("0", "1000000000", above=True),
        "What one trading day may lose, realised, open and costs together; reached, positions are "
        "closed and entries wait for 17:00 Chicago. For an account without a daily limit of its "
        "own set it to MAX_TRAILING_LOSS.",
        default_words="1000, 2000 or 3000 with a topstep profile, else unset: no limit",
        unit="dollars",
    ),
    _setting(
        "MAX_TRAILING_LOSS",
        "max_trailing_loss",
        kinds.dollars("0", "1000000000", above=True),
        "How far below its best end-of-day balance the account may fall, open losses included; "
        "reached, it is taken flat and a person has to resume.",
        default_words="2000, 3000 or 4500 with a topstep profile, else unset: no limit",
        unit="dollars",
    ),
    _setting(
        "MAX_POSITION",
        "max_position",
        kinds.number("0.1", "100000", step="0.1"),
        "What may be held in all contracts together, with everything that could fill; a micro "
        "counts as a tenth of a mini.",
        default_words="5, 10 or 15 with a topstep profile, else unset: no limit",
        unit="minis",
    ),
    _setting(
        "COOL_DOWN_AFTER_STOPS",
        "cool_down_after_stops",
        kinds.whole(1, 100),
        "Losing stops in a row after which entries wait.",
        default_words="unset: never",
    ),
    _setting(
        "COOL_DOWN_MINUTES",
        "cool_down_ns",
        kinds.duration_ns("0.01", "1440", unit_ns=_MINUTE_NS),
        "How long they wait then.",
        default="30",
        unit="minutes",
    ),
    _setting(
        "FEES_PER_CONTRACT",
        "fees_per_contract",
        kinds.number("0", "1000", step="0.000001"),
        "What one contract costs to open and close, for what an order could lose; most minis cost "
        "less.",
        default="3.50",
        unit="dollars",
    ),
)

_ORDERS = (
    _setting(
        "MAX_ORDER_QUANTITY",
        "max_order_quantity",
        kinds.whole(1, 100_000),
        "Contracts in one order; catches a notional typed as a quantity.",
        default="50",
        unit="contracts",
    ),
    _setting(
        "MAX_ORDER_NOTIONAL",
        "max_order_notional",
        kinds.dollars("0", "1000000000000", above=True),
        "What the contracts of one order may be worth; 50 of the largest index future are less.",
        default="30000000",
        unit="dollars",
    ),
    _setting(
        "PRICE_COLLAR_PERCENT",
        "price_collar_percent",
        kinds.number("0", "100", above=True, step="0.0001"),
        "How far through the market the price of an entry may be; a price that has to be reached "
        "first may be ten times as far from it.",
        default="5",
        unit="percent of the market's price",
    ),
    _setting(
        "MAX_REPEATED_EXECUTIONS",
        "max_repeated_executions",
        kinds.whole(1, 10_000),
        "Executions of one strategy in one contract and on one side within a minute; a loop that "
        "is filled and enters again stays below every rate limit.",
        default="60",
    ),
    _setting(
        "MAX_ORDERS_PER_SECOND",
        "max_orders_per_second",
        kinds.whole(1, 1000),
        "Entries within any second, and moves of one to more risk; catches a loop gone wild.",
        default="10",
    ),
    _setting(
        "DUPLICATE_WINDOW_MS",
        "duplicate_window_ns",
        kinds.duration_ns("1", "3600000", unit_ns=_MILLISECOND_NS, or_zero=True),
        "Equal orders with different client ids within this time are refused; 0 looks at none.",
        default="1000",
        unit="milliseconds",
    ),
    _setting(
        "STALE_QUOTE_MS",
        "stale_quote_ns",
        kinds.duration_ns("100", "3600000", unit_ns=_MILLISECOND_NS),
        "Without a message for this long, a contract's entries are refused.",
        default_words="30000; 2000 for the S&P and Nasdaq families while the stock market is open, "
        "08:30 to 15:00 in Chicago",
        unit="milliseconds",
    ),
    _setting(
        "CLOCK_OFFSET_MAX_SECONDS",
        "clock_offset_max_ns",
        kinds.duration_ns("0.001", "86400", unit_ns=_SECOND_NS, or_zero=True),
        "While the venue's clock (the Date of its answers) and this computer's are farther apart "
        "in three answers, entries are refused; 0 allows any offset, for a simulator that is sped "
        "up or replays the past.",
        default="5",
        unit="seconds",
    ),
    _setting(
        "STOP_REQUIRED",
        "stop_required",
        kinds.switch(),
        "An entry without a stop is refused.",
        default="1",
    ),
    _setting(
        "DEFAULT_STOP_TICKS",
        "default_stop_ticks",
        kinds.whole(4, 100_000),
        "Distance of the stop that an entry without one gets; the venue takes none nearer than 4.",
        default_words="unset: none is made up",
        unit="ticks",
    ),
    _setting(
        "MIN_R_MULTIPLE",
        "min_r_multiple",
        kinds.number("0", "1000", above=True),
        "Smallest reward for one unit of risk, from the rounded prices.",
        default_words="unset: not checked",
    ),
    _setting(
        "ALLOW_FLIP",
        "allow_flip",
        kinds.switch(),
        "An order beyond the position is judged as an entry for its excess; off, it is refused.",
        default="0",
    ),
)

CREDENTIALS = (
    _setting(
        "TOPSTEPX_USERNAME",
        "user_name",
        kinds.credential(),
        "The platform login, neither e-mail nor account name.",
        default_words="required",
    ),
    _setting(
        "TOPSTEPX_ACCOUNT_ID",
        "account_id",
        kinds.account_number(),
        "The one account that is traded, by its number; any other is refused.",
        default_words="required",
    ),
    _setting(
        "TOPSTEPX_API_KEY",
        "api_key",
        kinds.credential(),
        "The key of the gateway's API.",
        default_words="required, unless TOPSTEPX_JWT is set",
    ),
    _setting(
        "TOPSTEPX_JWT",
        "token",
        kinds.credential(),
        "A session token that replaces the key until it expires.",
        default_words="unset",
    ),
    _setting(
        "TOPSTEPX_EMERGENCY_API_KEY",
        "emergency_api_key",
        kinds.credential(),
        "For exits when the first key is refused.",
        default_words="unset",
    ),
)
"""Settings that the credential manager finds, wherever they are kept."""

VAULTS = (
    _setting(
        "AZURE_KEY_VAULT_URL",
        "azure_key_vault_url",
        kinds.vault_url(),
        "The Azure key vault that has credentials, one secret each: `topstepx-api-key`. Needs "
        "`backstop[azure]`.",
        default_words="unset: not asked",
    ),
    _setting(
        "AZURE_KEY_VAULT_SECRET",
        "azure_key_vault_secret",
        kinds.text_of(r"[0-9A-Za-z-]{1,127}", "letters, digits and hyphens, up to 127"),
        "The one secret of the vault that holds all credentials, as a JSON object.",
        default_words="unset: each credential is a secret of its own",
    ),
    _setting(
        "AWS_SECRET_ID",
        "aws_secret_id",
        kinds.text_of(r"[0-9A-Za-z/_+=.@:-]{1,2048}", "the name or the ARN of a secret"),
        "The secret of AWS Secrets Manager that holds all credentials, as a JSON object. Needs "
        "`backstop[aws]`.",
        default_words="unset: not asked",
    ),
    _setting(
        "BACKSTOP_VAULTS",
        "vaults",
        kinds.names(),
        "Vaults that other packages add through the entry points `backstop.vaults`.",
        default_words="unset: none is asked",
    ),
    _setting(
        "BACKSTOP_KEYRING_SERVICE",
        "keyring_service",
        kinds.text_of(r"[ -~]{1,256}", "printable characters, up to 256"),
        "The service name under which the operating system's keyring has credentials. Needs "
        "`backstop[keyring]`.",
        default_words="unset: not asked",
    ),
    _setting(
        "BACKSTOP_SECRETS_DIR",
        "secrets_folder",
        kinds.path(),
        "A folder with one file for each credential, mode 0600; mounted below `/run/secrets` any "
        "mode will do.",
        default_words="unset; what systemd hands over is read all the same",
    ),
)
"""Where credentials are looked for besides the environment and ``.env.local``."""

PLAIN_SETTINGS = (
    *(_GATES + _GATEWAY + _PROCESS + _EXPOSURE + _ACCOUNT),
    *(_ORDERS + _VERIFICATION + _RECOVERY + VAULTS),
)
"""Settings that stand in the environment, in ``.env.local`` or on the command line."""

SETTINGS = CREDENTIALS + PLAIN_SETTINGS
"""Every setting there is."""
