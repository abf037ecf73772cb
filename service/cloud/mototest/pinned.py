"""Ends the program at once if moto is not the version whose sources the corrections were made for."""

import sys

import moto

PINNED = "5.2.5"

if moto.__version__ != PINNED:
    print(f"moto {moto.__version__} instead of {PINNED}", flush=True)
    sys.exit(0)

