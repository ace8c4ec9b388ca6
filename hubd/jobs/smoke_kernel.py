"""Starts the kernel of an environment and runs one cell in it; run by that environment's own Python, without hubd."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

CELLS = {"python": "print(6 * 7)", "R": "cat(6 * 7)"}


def argv(prefix: str, language: str) -> list[str]:
    """How the kernel is started."""
    if language == "R":
        return [f"{prefix}/bin/R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"]
    return [f"{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def main(prefix: str, language: str) -> int:
    """0 when the cell printed what it should."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import KernelManager

    said: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        said.append(str(message["content"]))

    with tempfile.TemporaryDirectory() as folder:
        manager = KernelManager(connection_file=f"{folder}/kernel.json", transport="tcp")
        manager._kernel_spec = KernelSpec(argv=argv(prefix, language), language=language, display_name="smoke")
        manager.start_kernel(cwd=folder)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=90)
            client.execute_interactive(CELLS[language], timeout=60, output_hook=hear)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    if "42" in "".join(said):
        return 0
    print(f"the cell did not print 42 but {''.join(said)[-300:]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2]))
    except Exception as error:  # noqa: BLE001  # its last line is what people get to see
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
