"""The command line: words in, words out. Every command's arguments stand beside its handler."""

from hubd.cli.main import main

__all__ = ["main"]
