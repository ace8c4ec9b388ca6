"""The machine reboots, loses power, or is changed behind hubd's back: the next boot or pass puts everything right."""

from __future__ import annotations

import pytest

from hub import DISPLAYED, KERNEL, RIGHT, HubMachine

KERNELSPEC = f"/opt/hub/kernels/everyone/kernels/{KERNEL}/kernel.json"


@pytest.mark.parametrize("how", ["reboot", "power cut"])
def test_hub_is_back_after(hub_machine: HubMachine, how: str) -> None:
    ada = hub_machine.sign_in("ada")
    server = ada.start_server()
    server.run("open('kept.txt', 'w').write('mine')", KERNEL)
    if how == "reboot":
        assert hub_machine.reboot() == "running"
    else:
        hub_machine.run(("sync",))
        hub_machine.kill9()
        assert hub_machine.boot() == "running"
    hub_machine.wait_right()
    assert hub_machine.hubd("status").out.startswith(RIGHT)
    assert hub_machine.changes() == []
    back = hub_machine.sign_in("ada").start_server()
    assert back.kernelspecs() == {KERNEL: DISPLAYED}
    assert back.run("print(open('kept.txt').read())", KERNEL) == "mine\n"
    # The session from before is still good: the hub's secret has not changed.
    assert "/hub/login" not in ada.get("home").url


def test_services_are_started_once_at_boot(hub_machine: HubMachine) -> None:
    hub_machine.reboot()
    hub_machine.wait_right()
    for unit in ("jupyterhub.service", "jupyterhub-proxy.service", "hubd.service"):
        starts = hub_machine.run(("journalctl", "-b", "-o", "cat", "-u", unit, "JOB_TYPE=start")).out.count("Started ")
        assert starts == 1, f"{unit} was started {starts} times"


DRIFT = {
    "unit file changed": "sed -i s/NoNewPrivileges=yes/NoNewPrivileges=no/ /etc/systemd/system/jupyterhub.service",
    "unit file gone": "rm /etc/systemd/system/jupyterhub-proxy.service",
    "kernelspec gone": f"rm -r {KERNELSPEC.rsplit('/', 1)[0]}",
    "kernelspec changed": f"sed -i s/Python/Snake/ {KERNELSPEC}",
    "state opened": "chmod 755 /opt/hub/state/hub && chown root /opt/hub/state/hub",
    "secret opened": "chmod 644 /opt/hub/state/hub/cookie_secret",
    "home opened": "chmod 755 /home/ada",
    "notebooks gone": "rmdir /home/ada/notebooks",
    "sudo given": "echo 'ALL ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/hubd",
    "group left": "gpasswd -d ada hubd-admins",
    "group joined": "useradd -m mallory && usermod -aG hubd-admins mallory",
    "account closed": "usermod --expiredate 1 ada",
    "account half made": "sed -i /^ada:/d /etc/group /etc/gshadow",
    "proxy stopped": "systemctl stop jupyterhub-proxy.service",
    "proxy and its socket stopped": "systemctl stop jupyterhub-proxy.socket jupyterhub-proxy.service",
    "hub stopped": "systemctl stop jupyterhub.service",
    "hub disabled": "systemctl disable jupyterhub.service",
    "command gone": "rm /usr/local/bin/hubd",
    "settings changed": "sed -i 's/\"hub_port\": 15001/\"hub_port\": 15009/' /opt/hub/state/jupyterhub.json",
    # Last, as the daemon sees it by itself and makes a pass, which would mend what the next one spoils.
    "config opened": "chmod 666 /opt/hub/config.yaml",
}


@pytest.mark.parametrize("what", DRIFT)
def test_drift_is_repaired(hub_machine: HubMachine, what: str) -> None:
    watched = ("find /etc/systemd/system /etc/sudoers.d /opt/hub/kernels /opt/hub/state/hub /opt/hub/config.yaml"
               " /opt/hub/state/jupyterhub.json /home/ada -maxdepth 1 -name '*sqlite*' -o -maxdepth 4 -printf '%p %m %u %g %l\\n'"
               " | grep -v sqlite | grep -v '/home/ada/[.]' | sort; cat /etc/systemd/system/jupyterhub*.* /etc/sudoers.d/hubd"
               f" {KERNELSPEC}; id ada; getent group hubd-admins; getent shadow ada")  # fmt: skip
    before = hub_machine.shell(watched).out
    hub_machine.shell(DRIFT[what])
    # A change of config.yaml itself, even of its mode, the daemon sees at once.
    seen = (0, 4) if what == "config opened" else (4,)
    assert hub_machine.run(("/opt/hub/hub/bin/hubd", "plan", "--detailed-exitcode"), check=False).code in seen
    hub_machine.run(("/opt/hub/hub/bin/hubd", "apply", "--yes"))
    hub_machine.wait_right()
    assert hub_machine.changes() == []
    assert hub_machine.shell(watched).out == before
    for unit in ("hub", "proxy", "jupyterhub-proxy.socket"):
        assert hub_machine.show(unit, "ActiveState") == "active"
    assert hub_machine.hub.healthy()


def test_daemon_repairs_when_it_is_told_by_a_signal(hub_machine: HubMachine) -> None:
    hub_machine.run(("rm", KERNELSPEC))
    hub_machine.run(("kill", "-HUP", str(hub_machine.main_pid("daemon"))))
    hub_machine.wait_until(lambda: hub_machine.run(("test", "-e", KERNELSPEC), check=False).code == 0, "the kernel", timeout=60)
