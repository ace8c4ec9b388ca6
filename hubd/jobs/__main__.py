"""`python -m hubd.jobs SPEC`: does one job and reports into the file that its specification names."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from hubd.host.offspring import end_offspring, keep_hold
from hubd.jobs.run import run


def main(arguments: list[str]) -> int:
    """Exit code 0 when the job's product is there, 1 when not."""
    os.umask(0o022)
    keep_hold()
    spec = json.loads(Path(arguments[0]).read_bytes())
    return run(spec, end_all=end_offspring)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
