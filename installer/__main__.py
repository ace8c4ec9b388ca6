"""`python -m hubd_installer …`: called by bootstrap.py once the hub environment is there."""

from __future__ import annotations

import sys

from hubd_installer.install import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
