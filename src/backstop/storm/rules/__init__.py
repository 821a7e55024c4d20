"""What must never be done, and what must be so by now: a file for each kind of promise."""
