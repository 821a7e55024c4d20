"""What a program that is tried as a process gets of this machine: the way to others, no more."""

import os

PLAIN = {
    "PATH": os.environ["PATH"],
    "SSL_CERT_FILE": os.devnull,
    "SSL_CERT_DIR": os.devnull,
}
"""Without the system's certificates: none but this machine is reached, and to read all of them
takes each process a tenth of a second."""
