"""Runs programs in turns and tells what each run took; copied into the machine. Standard library only.

    python3 stopwatch.py '{"rounds": 9, "pause": 0.5, "commands": {"set": ["hubd", "config", "set", "x", "{round}"]}}'

prints, for each command, one object per round: wall and cpu in seconds, memory (the highest resident size) in MiB,
exit code. In turns, so that a busy moment of the machine does not fall on one command alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any


def main(order: dict[str, Any]) -> dict[str, Any]:
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in order["commands"]}
    for turn in range(order["rounds"]):
        for name, words in order["commands"].items():
            taken[name].append(timed([word.replace("{round}", str(turn)) for word in words]))
            time.sleep(order["pause"])
    return taken


def timed(words: list[str]) -> dict[str, float]:
    start = time.monotonic()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    return {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss / 1024,
        "code": process.returncode,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
