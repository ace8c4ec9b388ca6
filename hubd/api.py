"""The public surface for plugins: everything that a plugin may import, and nothing else."""

from hubd.config.names import Line
from hubd.config.section import Section
from hubd.config.units import Cores, Duration, Size
from hubd.errors import ExitCode, HubdError, UsageError
from hubd.hooks import CommandContext, Notice, Settings, Wanted, hookimpl
from hubd.host import Host
from hubd.layout import Layout
from hubd.resources.base import Memo, Progress, Resource, Step
from hubd.resources.directory import Directory
from hubd.resources.file import File
from hubd.resources.link import Link
from hubd.resources.package import Packages
from hubd.resources.service import Service
from hubd.resources.unit import Unit
from hubd.tools.program import Program

__all__ = [
    "CommandContext", "Cores", "Directory", "Duration", "ExitCode", "File", "Host", "HubdError", "Layout", "Line",
    "Link", "Memo", "Notice", "Packages", "Program", "Progress", "Resource", "Section", "Service", "Settings",
    "Size", "Step", "Unit", "UsageError", "Wanted", "hookimpl",
]  # fmt: skip
