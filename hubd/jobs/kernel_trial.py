"""Starts a kernel as people's servers do and runs a notebook in it; a program of its own, which a build can end in time.

Its specification comes in on standard input, its findings go out on standard output, each one JSON object. The kernel's own
output goes to standard error: nobody but the log sees it. SIGUSR1 ends both.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

# How long a kernel may take until it answers; the first start of a large environment reads much from the disk.
START = 120


async def trial(spec: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """How it went: an empty mapping when all cells ran, else `cell` (0 before the first), `error` and `late`.

    spec: `kernel` (what kernel.json holds), `cells` (source and tags), `seconds` for all of them, `answer` (to be printed).
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbformat import v4

    at = 0
    loop, trying = asyncio.get_running_loop(), asyncio.current_task()
    if trying:
        # The kernel is in a session of its own, and has to be ended by itself. SIGTERM is nbclient's, which waits for the kernel.
        loop.add_signal_handler(signal.SIGUSR1, trying.cancel)

    def begun(cell: Any, cell_index: int) -> None:
        nonlocal at
        at = cell_index + 1

    form: Any = v4  # has no types
    cells = [form.new_code_cell(each["source"], metadata={"tags": each["tags"]}) for each in spec["cells"]]
    manager = AsyncKernelManager(connection_file=f"{folder}/connection.json")
    manager._kernel_spec = KernelSpec(**spec["kernel"])
    client = NotebookClient(form.new_notebook(cells=cells), km=manager, startup_timeout=START, on_cell_execute=begun,
                            resources={"metadata": {"path": folder}})  # fmt: skip
    deadline = loop.time() + spec["seconds"]
    try:
        # Standard output of the kernel is not the notebook's, and must not be taken for the findings.
        await asyncio.wait_for(client.async_execute(stdout=sys.stderr.fileno()), spec["seconds"])
    except Exception as error:  # noqa: BLE001  # whatever a kernel or a cell does wrong
        # A kernel that is ended because it takes too long is told as one that died.
        return {"cell": at, "error": _words(error), "late": loop.time() >= deadline}
    finally:
        await manager.shutdown_kernel(now=True)
    said = json.dumps([output for cell in client.nb.cells for output in cell.outputs])
    if spec["answer"] not in said:
        return {"cell": at, "error": f"it printed {said[:300]} and not {spec['answer']}", "late": False}
    return {}


def _words(error: Exception) -> str:
    if hasattr(error, "evalue"):  # of the cell, whose traceback is what `str` would give
        return f"{error.ename}: {error.evalue}"  # type: ignore[attr-defined]
    return str(error) or type(error).__name__


def main() -> int:
    """Exit code 0 when it was found out how it goes, well or badly; 1 when nobody wants to know any more."""
    spec = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        try:
            found = asyncio.run(trial(spec, folder))
        except asyncio.CancelledError:
            return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The client would complain at its end of a kernel that died, and after that nobody sees what the kernel said itself.
    os._exit(code)
