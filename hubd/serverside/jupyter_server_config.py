"""The settings of a person's JupyterLab server that have to be code. Jupyter reads them at its start; nothing of hubd is used."""

from __future__ import annotations

import contextlib

from jupyter_client.kernelspec import NoSuchKernel
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager


class KernelsAsOffered(AsyncMappingKernelManager):  # type: ignore[misc]  # the tests' environment has no jupyter_server
    """Restarts a kernel as it is offered now.

    Jupyter itself repeats the command of the kernel's first start, with the generation from before an update or a rollback.
    """

    async def restart_kernel(self, kernel_id: str, now: bool = False) -> None:
        """Restart a kernel; one that is not offered any more is started as it was."""
        kernel = self.get_kernel(kernel_id)
        with contextlib.suppress(NoSuchKernel):
            offered = self.kernel_spec_manager.get_kernel_spec(kernel.kernel_name)
            kernel._kernel_spec = kernel.provisioner.kernel_spec = offered
        await super().restart_kernel(kernel_id, now=now)


c = get_config()  # type: ignore[name-defined]  # noqa: F821  # Jupyter gives it
c.ServerApp.kernel_manager_class = KernelsAsOffered

load_subconfig("own_kernels.py")  # type: ignore[name-defined]  # noqa: F821  # as above
