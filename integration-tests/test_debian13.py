"""Debian 13: the README's command on a bare machine gives the same hub."""

from __future__ import annotations

import re

from base_tree import base_tree
from hub import KERNEL, RIGHT, HubMachine, copy_checkout, timed_install


def test_debian_13_gets_the_same_hub() -> None:
    with base_tree("trixie") as bare, HubMachine("debian13", bare) as machine:
        assert "13" in machine.shell(". /etc/os-release; echo $VERSION_ID").out
        copy_checkout(machine)
        done, _ = timed_install(machine)
        assert done.code == 0, done
        said = re.search(r"Sign in as ada with the one-time password (\S+)", done.out)
        assert said, done
        machine.passwords["ada"] = said[1]
        status = machine.hubd("status")
        assert status.out.startswith(RIGHT), status
        plan = machine.hubd("plan", "--detailed-exitcode")
        assert plan.out.startswith("Nothing to do:"), plan
        server = machine.sign_in("ada").start_server()
        assert server.run("import sys; print(sys.version_info[:2], 6 * 7)", KERNEL).endswith(" 42\n")
        machine.reboot()
        machine.wait_right()
        assert machine.changes() == []
