"""A hub on a machine with a kernel of its own, emulated by qemu: what the kernel does to processes is real there.

In the other machines this host's kernel decides, and it may not enforce what systemd asks of it. Emulation is some 15 times
slower, so nothing is installed in such a machine: it boots the files of one that has its hub already.
"""

from __future__ import annotations

import base64
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import leftovers
from base_tree import CACHE, base_tree
from commands import run
from hub import HubMachine
from tree import Tree
from waiting import wait_for

# A Debian kernel with the drivers of emulated devices; initramfs-tools and zstd make its initrd.
KERNEL_PACKAGES = ("linux-image-cloud-amd64", "initramfs-tools", "zstd", "ca-certificates")
MEMORY = "2G"
DISK = 8 * 2**30

# qemu's user network, as its documentation has it: the machine, the way out, the name server.
ADDRESS, GATEWAY, RESOLVER = "10.0.2.15", "10.0.2.2", "10.0.2.3"
# Where its shell listens. On this host that port is open in the machine's network namespace alone, which only root enters.
SHELL_PORT = 22

# No udev in it would find the serial line that the console is on, and a getty waits for that.
COMMAND_LINE = (
    "root=/dev/vda rw fsck.mode=skip console=ttyS0 quiet net.ifnames=0 panic=-1 systemd.mask=serial-getty@ttyS0.service"
    " mitigations=off tsc=reliable"
)

# Answers one connection: the words and the standard input of a command come in base64, one line each.
ANSWER = """#!/bin/bash
echo ready
read -r words; read -r input
kept=$(mktemp -d)
base64 -d <<<"$input" | bash -c "$(base64 -d <<<"$words")" >"$kept/out" 2>"$kept/err"
echo "${PIPESTATUS[1]} $(stat -c %s "$kept/out") $(stat -c %s "$kept/err")"
cat "$kept/out" "$kept/err"
rm -r "$kept"
"""
# The other end, on this host: ASK PORT WORDS. 125: nobody answered.
ASK = """
exec 3<>"/dev/tcp/127.0.0.1/$1" && read -r -t 10 -u 3 _ || exit 125
{ printf '%s\\n' "$2"; base64 -w 0; echo; } >&3
read -r -u 3 code out err || exit 125
head -c "$out" <&3
head -c "$err" <&3 >&2
exit "$code"
"""
UNITS = {
    "test-network.service": f"""[Unit]
DefaultDependencies=no
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'ip link set eth0 up; ip address add {ADDRESS}/24 dev eth0; ip route add default via {GATEWAY}'
""",
    "test-shell.socket": f"""[Socket]
ListenStream={SHELL_PORT}
Accept=yes
""",
    "test-shell@.service": """[Unit]
CollectMode=inactive-or-failed
[Service]
ExecStart=-/usr/local/sbin/test-shell
StandardInput=socket
StandardOutput=socket
StandardError=journal
""",
}
WANTED = {"test-network.service": "sysinit.target", "test-shell.socket": "sockets.target"}


class EmulatedMachine(HubMachine):
    """A machine with a hub that qemu runs. What is written in it goes with it: `stop` pulls the plug, and no tree is left.

    prepare: is given its files before it is switched on; changes cost little then. `path` and `copy_in` are about these files,
    too. A command that runs out of time goes on in it.
    """

    def __init__(
        self, name: str, source: Tree, passwords: Mapping[str, str] | None = None, *, prepare: Callable[[Path], None]
    ) -> None:
        super().__init__(name, source, passwords)
        self._prepare = prepare
        self._qemu: subprocess.Popen[bytes] | None = None

    def boot(self) -> str:
        """Switch it on and wait until systemd has started everything, the hub too; gives `running` or `degraded`."""
        if self.running:
            raise RuntimeError(f"machine {self.name} is running already")
        self._prepare(self.clone.root)
        fit_out(self.clone.root, self.name)
        image = make_image(self.clone.root, self.folder / "root.img")
        with kernel() as (linux, initrd):
            words = (*self._qemu_words(image), "-kernel", linux, "-initrd", initrd, "-append", COMMAND_LINE)
            with (self.folder / "qemu.log").open("wb") as log:
                self._qemu = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            leftovers.note_processes(self.folder, self._qemu.pid)
            return wait_for(self._booted_or_ended, f"machine {self.name} to boot", timeout=400, every=2)

    def stop(self, *, timeout: float = 60) -> None:
        """Pull the plug: what is on its disk is not looked at again."""
        self.kill9()

    def kill9(self) -> None:
        if self._qemu is not None:
            self._kill_children()
            self._qemu.kill()
            self._qemu.wait(20)
            self._qemu = None

    @property
    def running(self) -> bool:
        return self._qemu is not None and self._qemu.poll() is None

    def snapshot(self) -> NoReturn:
        raise RuntimeError(f"machine {self.name} is emulated: its files are in an image")

    def path(self, path: str | Path) -> Path:
        """Where a file lies on this host that the machine had when it was switched on."""
        return self.clone.root / str(path).lstrip("/")

    def _booted_or_ended(self) -> str:
        if not self.running:
            told = ((self.folder / name).read_text(errors="replace") for name in ("qemu.log", "console.log"))
            raise RuntimeError(f"machine {self.name} ended at boot:\n{''.join(told)[-3000:]}")
        return self._booted()

    def _inside(self, argv: Sequence[str | Path], env: Mapping[str, str], user: str) -> tuple[str, ...]:
        words = base64.b64encode(shlex.join(self._words(argv, env, user)).encode()).decode()
        return ("nsenter", f"--net={self.net.path}", "--", "bash", "-c", ASK, "ask", str(SHELL_PORT), words)

    def _qemu_words(self, image: Path) -> tuple[str | Path, ...]:
        web = f"hostfwd=tcp:{self.net.machine}:80-{ADDRESS}:80"
        shell = f"hostfwd=tcp:127.0.0.1:{SHELL_PORT}-{ADDRESS}:{SHELL_PORT}"
        return (
            # It takes all that this host has, for minutes, and is not to make others late.
            "nice", "-n", "5", "nsenter", f"--net={self.net.path}", "--",
            "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", "-machine", "q35",
            # Without `erms` the kernel clears memory by words: emulation takes its time for each turn of a string instruction.
            "-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm", "-smp", "2", "-m", MEMORY,
            "-drive", f"file={image},if=virtio,format=raw,cache=unsafe",
            "-netdev", f"user,id=net,{web},{shell}", "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            "-serial", f"file:{self.folder / 'console.log'}",
        )  # fmt: skip


@contextmanager
def kernel() -> Iterator[tuple[Path, Path]]:
    """Debian's kernel and its initrd, kept in the cache as trees are, and not removed while the block runs."""
    with base_tree("bookworm", packages=KERNEL_PACKAGES, cache=CACHE / "kernel") as tree:
        (linux,), (initrd,) = (tuple((tree / "boot").glob(f"{name}-*")) for name in ("vmlinuz", "initrd.img"))
        yield linux, initrd


def fit_out(root: Path, name: str) -> None:
    """Give a tree what a machine of its own needs: a name, a network, and a shell for root."""
    (root / "etc/hostname").write_text(f"{name}\n")
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.write_text(f"nameserver {RESOLVER}\n")
    shell = root / "usr/local/sbin/test-shell"
    shell.write_text(ANSWER)
    shell.chmod(0o755)
    units = root / "etc/systemd/system"
    for unit, text in UNITS.items():
        (units / unit).write_text(text)
    for unit, target in WANTED.items():
        wants = units / f"{target}.wants"
        wants.mkdir(exist_ok=True)
        (wants / unit).symlink_to(f"../{unit}")


def make_image(root: Path, image: Path) -> Path:
    """A disk with the files of `root`; what is empty of it takes no room on this host."""
    with image.open("wb") as file:
        file.truncate(DISK)
    run(("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-d", root, image), timeout=300)
    return image
