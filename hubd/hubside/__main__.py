"""Starts the hub: `python -m hubd.hubside --settings FILE`."""

from __future__ import annotations

# The class is imported by its full name: defined in `__main__` it would exist twice, with two sets of settings.
from hubd.hubside.app import Hub

if __name__ == "__main__":
    Hub.launch_instance()
