"""``python -m backstop``: the program, also where its script is not on the path."""

from backstop.entrypoints.main import main

if __name__ == "__main__":
    main()
