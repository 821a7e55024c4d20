"""A process that takes the lock of account 42, says so, and holds it until it is killed."""

import sys
from pathlib import Path

from backstop.adapters.lock import AccountLock
from backstop.errors import AlreadyRunningError


def main() -> None:
    lock = AccountLock(gateway_host=sys.argv[2], account="42", runtime_folder=Path(sys.argv[1]))
    try:
        lock.acquire()
    except AlreadyRunningError as error:
        sys.stdout.write(f"refused: {error}\n")
        sys.exit(2)
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
