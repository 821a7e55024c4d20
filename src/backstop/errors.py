"""Every exception that Backstop raises on purpose, in one tree.

BackstopError
├── DomainError                    a value that cannot exist
│   ├── OffTickError               a price that is not a whole number of ticks
│   ├── InvalidTransitionError     an order state that cannot follow from the one before
│   ├── UnknownOrderError          a name or number that no order goes by
│   ├── NoProofError               an execution that cannot be proven, or not yet
│   └── NoBundleError              an order on record of which nobody else can be given a proof
├── SetupError                     unusable settings or set-up: exit code 2
│   ├── SettingError               one setting: its name, its fault, what is allowed
│   ├── CredentialError            one credential: its name and each source asked, never a value
│   ├── StateFolderError           the state folder or a database in it cannot be used
│   │   ├── DamagedDatabaseError   a database whose bytes are not sound
│   │   ├── TamperedRecordError    a record that is not what was signed
│   │   ├── RecordGoneError        a record of which nothing is left, and that was signed
│   │   └── StateFileError         a checkpoint of the state that cannot be used, and why
│   ├── AlreadyRunningError        another guard holds the account
│   ├── DataFileError              a data file: file, line, fault
│   ├── CredentialSourceError      one source of credentials cannot answer; the next is asked
│   └── SetupFaults                several of these, reported together
├── GatewayError                   the broker's gateway: named at the adapter
│   ├── LoginRefusedError          the gateway knows us and says no
│   ├── GatewayUnreachableError    no connection or no answer
│   └── GatewayAnswerError         an answer that is not what the API promises
├── AlertCourierError              the process that delivers alerts is not there
├── JournalError                   the journal could not make a record durable
│   ├── JournalFullError           and could not keep it for later either
│   └── GuardBusyError             too many wishes wait for a decision: one more is refused
└── InvariantError                 our own broken promise: stops the process
"""

from decimal import Decimal


class BackstopError(Exception):
    """Base of every exception that Backstop raises on purpose."""


class DomainError(BackstopError):
    """A value that cannot exist in the trade's terms."""


class OffTickError(DomainError):
    """A price that lies between two ticks of its instrument."""

    def __init__(self, symbol: str, price: Decimal, tick_size: Decimal) -> None:
        self.symbol = symbol
        self.price = price
        self.tick_size = tick_size
        super().__init__(f"{symbol} price {price} is not a multiple of the tick size {tick_size}.")


class InvalidTransitionError(DomainError):
    """A fact that would move an order to a state that cannot follow its present one."""

    def __init__(self, client_order_id: str, from_state: str, to_state: str, cause: str) -> None:
        self.client_order_id = client_order_id
        self.from_state = from_state
        self.to_state = to_state
        self.cause = cause
        super().__init__(
            f"Order {client_order_id} is {from_state} and cannot become {to_state} by {cause}."
        )


class UnknownOrderError(DomainError):
    """A name that no order goes by."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(
            f"No order goes by {order_id!r}, neither as client order id nor as the venue's number."
        )


class NoProofError(DomainError):
    """The fills of an order cannot be proven as it stands."""

    def __init__(
        self, client_order_id: str, state: str, *, filled_quantity: int, quantity: int
    ) -> None:
        self.client_order_id = client_order_id
        self.state = state
        self.filled_quantity = filled_quantity
        self.quantity = quantity
        super().__init__(
            f"Order {client_order_id} is {state} with {filled_quantity} of {quantity} "
            f"contract{'' if quantity == 1 else 's'} proven by trades. A proof is made when an "
            "order with fills is finished and its trades account for all of them; until then: "
            f"backstop audit show {client_order_id}."
        )


class NoBundleError(DomainError):
    """The order is on record, and there is nothing that could be proven of it to others."""


class SetupError(BackstopError):
    """Unusable settings or set-up; the program ends with exit code 2 before it trades."""


class SettingError(SetupError):
    """One setting that cannot be used."""

    def __init__(self, name: str, fault: str, allowed: str) -> None:
        self.name = name
        self.fault = fault
        self.allowed = allowed
        super().__init__(f"{name}: {fault}. Allowed: {allowed}.")


class CredentialError(SetupError):
    """A credential that no source could give, or that cannot be one."""

    def __init__(self, name: str, fault: str, remedy: str) -> None:
        self.name = name
        self.fault = fault
        self.remedy = remedy
        super().__init__(f"{name}: {fault}. {remedy}")


class StateFolderError(SetupError):
    """The state folder, or a database in it, cannot be used as it is."""


class DamagedDatabaseError(StateFolderError):
    """A database in the state folder is not sound; it was left as it is."""


class TamperedRecordError(StateFolderError):
    """The record is not what was signed: changed, cut, replaced or added to.

    ``where`` names the first thing that does not hold: a record, a row, a file.
    """

    def __init__(self, where: str, finding: str) -> None:
        self.where = where
        self.finding = finding
        super().__init__(f"{where}: {finding}.")


class RecordGoneError(StateFolderError):
    """Nothing is left of the record in ``audit.db``, and checkpoints of it were signed.

    ``size`` records were there at least; ``root`` is that of the tree over them, as hex.
    """

    def __init__(self, message: str, *, size: int, root: str) -> None:
        self.size = size
        self.root = root
        super().__init__(message)


class StateFileError(StateFolderError):
    """One checkpoint of the state that cannot be used; ``finding`` says in words what it is."""

    def __init__(self, path: str, finding: str) -> None:
        self.path = path
        self.finding = finding
        super().__init__(f"{path}: {finding}.")


class AlreadyRunningError(SetupError):
    """Another guard holds the right to send for this account."""


class DataFileError(SetupError):
    """A market-data file that cannot be read; names file, line and fault.

    Line 0 stands for the file as a whole.
    """

    def __init__(self, path: str, line_number: int, fault: str) -> None:
        self.path = path
        self.line_number = line_number
        self.fault = fault
        place = f"{path}, line {line_number}" if line_number else path
        super().__init__(f"{place}: {fault}")


class CredentialSourceError(SetupError):
    """One source of credentials that cannot answer; its words hold no secret.

    ``one_secret``: the failure is about this one secret, and others may be there.
    """

    def __init__(self, words: str, *, one_secret: bool = False) -> None:
        self.one_secret = one_secret
        super().__init__(words)


class SetupFaults(SetupError):  # noqa: N818 - not one error but all that were found
    """Everything that is wrong with the set-up, so that it can be mended in one go."""

    def __init__(self, faults: tuple[SetupError, ...]) -> None:
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))


class GatewayError(BackstopError):
    """The broker's gateway failed us in a way that its adapter can name."""


class LoginRefusedError(GatewayError):
    """The gateway answered the login with a no."""


class GatewayUnreachableError(GatewayError):
    """No connection to the gateway, or no answer within the deadline."""


class GatewayAnswerError(GatewayError):
    """The gateway answered with something that its API does not promise."""


class AlertCourierError(BackstopError):
    """The process that delivers alerts cannot be started, or has ended."""


class JournalError(BackstopError):
    """The journal could not make a record durable; it is kept, and tried again."""


class JournalFullError(JournalError):
    """The journal could not make a record durable, nor keep it: it will be missing."""


class GuardBusyError(JournalError):
    """Too many wishes wait for a decision, so this one was refused, and is not on record."""

    def __init__(self, waiting: int, allowed: int, whose: str) -> None:
        self.waiting = waiting
        self.allowed = allowed
        super().__init__(
            f"{waiting} wishes {whose} wait for a decision, and {allowed} may, so that exits and "
            "the broker's word do not wait behind them. This one was not decided. Wait for the "
            "answers before asking for more; exits and cancels pass for longer than entries, and "
            "to close, to halt and to liquidate passes always."
        )


class InvariantError(BackstopError):
    """Our own broken promise; the process stops and leaves the watchdog in charge."""
