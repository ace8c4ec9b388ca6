"""From a hub environment to a hub that answers: config, first passes, passwords, the daemon. The same parts as a pass."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict

from hubd.config.model import Config
from hubd.daemon.passes import Ended, Passes
from hubd.errors import ExitCode, HubdError, Interrupted
from hubd.flow import facts
from hubd.flow.apply import apply
from hubd.flow.observe import observe
from hubd.flow.plan import plan
from hubd.flow.source import config_of, plugins_of, read_text
from hubd.flow.values import Event
from hubd.hooks import Wanted
from hubd.host import Host, files, local_host
from hubd.host.commands import network_environment
from hubd.layout import ADMINS_GROUP, DAEMON_UNIT, PROXY_SOCKET, PROXY_UNIT, Layout, layout_of
from hubd.parts import machine
from hubd.resources.account import SystemAccount
from hubd.resources.directory import Directory
from hubd.resources.job import forget_failures, phases
from hubd.show import error_lines, event_line, summary_lines
from hubd.tools.program import environment_file_text
from hubd_installer import first_config
from hubd_installer.options import Options, parse
from hubd_installer.passwords import first_passwords, forget_shown, read_given
from hubd_installer.progress import Progress

JOBS_LIMIT = 7200.0
DAEMON_LIMIT = 60.0


def main(arguments: list[str]) -> int:
    """Install or repair; returns the exit code. Every error is told in words."""
    options = parse(arguments)
    progress = Progress(options.events)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return install(options, progress)
    except HubdError as error:
        for line in _told(error):
            progress.error(line)
            print(line, file=sys.stderr)  # for the log
        return int(error.code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)


def install(options: Options, progress: Progress) -> int:
    """The steps, top to bottom. Each can be repeated; a kill between two loses nothing."""
    layout = layout_of(options.prefix)
    host = local_host(layout)
    if options.password_file:
        read_given(options.password_file)
    files.make_directory(layout.state, mode=0o711)
    with progress.step("writing the configuration"):
        first_config.put_in_place(layout, options, say=progress.say)
        _keep_network_settings(layout)
    text = read_text(layout)
    config = config_of(text, plugins_of(text, layout), layout)
    _stop_daemon(host)
    with progress.step("making accounts and folders"):
        _lay_foundations(host, config)
        # Before anybody can sign in: a name without a password belongs to whoever comes first.
        made = first_passwords(host, config.people.admins, options.password_file)
    _wait_for_port(host, config, progress)
    with progress.step("setting up the machine"):
        ended = _passes(layout, progress)
    with progress.step("building the environments"):
        ended = _follow_jobs(layout, progress, ended)
    _let_admins_read(layout)
    with progress.step("starting hubd"):
        _start_daemon(host)
    for line in summary_lines(ended.summary):
        print(line, flush=True)
    _farewell(progress, config, ended, made)
    forget_shown(layout)
    return int(ended.code)


def _lay_foundations(host: Host, config: Config) -> None:
    """The service accounts and the folders, ahead of the first pass. Raises the first error."""
    wanted = Wanted(config, host.layout, facts.read(host.layout, config), systemd=host.init.enforces)
    first = [each for each in machine.hubd_resources(wanted) if isinstance(each, SystemAccount | Directory)]
    for outcome in apply(host, first, plan(first, (), observe(host, first)), tell=lambda event: None):
        if outcome.error:
            raise outcome.error


def _passes(layout: Layout, progress: Progress, reason: str = "installation") -> Ended:
    passes = Passes(lambda: local_host(layout))

    def hear(told: Event | Ended) -> None:
        if isinstance(told, Event) and (line := event_line(asdict(told))):
            print(line, flush=True)
            progress.command(told.say)

    passes.hear = hear
    forget_failures(local_host(layout))
    return passes.make(reason)


def _follow_jobs(layout: Layout, progress: Progress, ended: Ended) -> Ended:
    """Look again each time a job ends, until none is left."""
    host, deadline = local_host(layout), time.monotonic() + JOBS_LIMIT
    while ended.running and time.monotonic() < deadline:
        going = phases(host, ended.running)
        progress.command("; ".join(f"{name.removeprefix('env-')}: {phase}" for name, phase in going.items()))
        if not going.keys() >= set(ended.running):
            passes = Passes(lambda: local_host(layout))
            ended = passes.make("a job ended")
        time.sleep(0.5)
    return ended


def _let_admins_read(layout: Layout) -> None:
    """The file was written before its group was there."""
    found = files.look(layout.config_file)
    if found and found.kind == "file" and found.group == "root":
        files.set_access(layout.config_file, mode=found.mode, group=ADMINS_GROUP)


# What bootstrap.py sets for itself: environments may have a Python that uv downloads.
BOOTSTRAPS = ("UV_PYTHON_DOWNLOADS", "UV_NO_PROGRESS")


def _keep_network_settings(layout: Layout) -> None:
    """What this machine needs to reach its mirrors is kept for the daemon and for builds."""
    settings = network_environment(os.environ).items()
    found = {name: value for name, value in settings if name not in BOOTSTRAPS and "\n" not in value}
    path = layout.state / "network.env"
    if found or files.read(path) is None:
        files.write_atomic(path, environment_file_text(found.items()).encode(), mode=0o600)


def _stop_daemon(host: Host) -> None:
    """An older daemon must not make passes beside this one."""
    if host.init.state(DAEMON_UNIT).is_going:
        host.init.stop(DAEMON_UNIT)


def _wait_for_port(host: Host, config: Config, progress: Progress) -> None:
    """The progress page has the public port until now; an installed proxy may keep it."""
    progress.release_port()
    if host.init.state(PROXY_SOCKET).is_active or host.init.state(PROXY_UNIT).is_active:
        return
    deadline = time.monotonic() + 10
    while not _is_free(config.proxy.address, config.proxy.port) and time.monotonic() < deadline:
        time.sleep(0.1)


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address or "0.0.0.0", port))  # noqa: S104  # the hub is to be reached from everywhere
        except OSError:
            return False
    return True


def _start_daemon(host: Host) -> None:
    if host.init.enforces:
        host.init.start(DAEMON_UNIT)
    else:
        program = machine.daemon(host.layout.hub.resolve(), host.layout)
        host.init.define(program)
        host.init.start(DAEMON_UNIT)
    deadline = time.monotonic() + DAEMON_LIMIT
    while not host.layout.socket.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _farewell(progress: Progress, config: Config, ended: Ended, made: Mapping[str, str]) -> None:
    if ended.code != ExitCode.DONE:
        progress.say("The hub is not all right yet. See: hubd status")
    port = "" if config.proxy.port == 80 else f":{config.proxy.port}"
    progress.say(f"The hub is at http://{_address(config)}{port}/")
    for name, password in made.items():
        progress.say(f"Sign in as {name} with the one-time password {password}")
        progress.say("  and change it at /hub/auth/change-password")
    if not config.people.everybody:
        progress.say("Nobody may sign in yet: hubd config add-item people.admins YOUR-NAME")


def _address(config: Config) -> str:
    """This machine's address as others most likely reach it; no packet is sent."""
    if config.proxy.address:
        return config.proxy.address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _told(error: HubdError) -> list[str]:
    lines = getattr(error, "lines", None)
    return [f"✗ {error.what}", *(f"  {line}" for line in lines())] if lines else list(error_lines(error))


def _interrupt(*_: object) -> None:
    raise Interrupted("the installation was interrupted", fix="Run the same command again: it goes on from here.")
