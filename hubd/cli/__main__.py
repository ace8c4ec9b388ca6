"""`python -m hubd.cli`: the same as `hubd`."""

from hubd.cli.main import main

main()
