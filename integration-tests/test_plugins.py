"""Plugins on a real hub: a message on its pages without a restart, and one that raises; and the hub on another port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from hub import HubMachine

PLUGIN = "hubd-announcement"
TEXT = "Closed <b>on Friday</b> {{ 6 * 7 }}"
SHOWN = "Closed &lt;b&gt;on Friday&lt;/b&gt; &#123;&#123; 6 * 7 &#125;&#125;"
BAD = "from hubd.api import hookimpl\n\n\n@hookimpl\ndef hubd_config_sections():\n    raise RuntimeError('no reason at all')\n"


def page(machine: HubMachine) -> str:
    return requests.get(f"{machine.hub.url}/hub/login", timeout=30).text


def wait_for_text(machine: HubMachine, text: str) -> None:
    machine.wait_until(lambda: text in page(machine), f"{text} on the page")


@pytest.fixture(scope="module")
def announcing(hub_machine: HubMachine) -> HubMachine:
    hub_machine.hubd("config", "add-item", "plugins", PLUGIN)
    hub_machine.hubd("apply", "--yes")
    hub_machine.wait_right()
    return hub_machine


@pytest.fixture
def bad(hub_machine: HubMachine) -> Iterator[HubMachine]:
    hub_machine.write("/srv/hubd-bad/hubd_bad.py", BAD)
    hub_machine.hubd("config", "add-item", "plugins", "{name: hubd-bad, source: /srv/hubd-bad}")
    yield hub_machine
    hub_machine.shell("sed -i '/^bad:/,$d' /opt/hub/config.yaml")
    hub_machine.hubd("config", "remove-item", "plugins", "hubd-bad")
    hub_machine.hubd("apply", "--yes")


def test_a_message_is_on_the_page_without_a_restart(announcing: HubMachine) -> None:
    before = announcing.main_pid("hub")
    assert "hubd-announcement" not in page(announcing)
    for text, shown in ((TEXT, SHOWN), ("Open again", "Open again")):
        announcing.hubd("announce", text, "--level", "danger")
        wait_for_text(announcing, f'alert-danger" role="status">{shown}</div>')
    assert "everybody reads on the hub's pages: Open again" in announcing.hubd("status").out
    announcing.hubd("announce", "--clear")
    announcing.wait_until(lambda: "Open again" not in page(announcing), "the message to go")
    assert announcing.main_pid("hub") == before
    assert announcing.changes() == []


def test_the_hub_can_read_the_message_and_not_write_it(announcing: HubMachine) -> None:
    place = "/opt/hub/state/announcement/hubd-announcement.html"
    assert announcing.run(("runuser", "-u", "hubd-hub", "--", "cat", place)).code == 0
    assert announcing.run(("runuser", "-u", "hubd-hub", "--", "sh", "-c", f"echo x >{place}"), check=False).code != 0


def test_a_plugin_that_raises_is_named_and_the_rest_goes_on(bad: HubMachine) -> None:
    bad.shell("printf 'bad:\\n  x: 1\\n' >>/opt/hub/config.yaml")  # nobody can judge its section while it is broken
    bad.hubd("config", "set", "limits.memory", "900M")
    done = bad.hubd("apply", "--yes", check=False)
    assert done.code == 5, done
    assert "hubd-bad is left out: hubd_config_sections: RuntimeError: no reason at all" in done.out + done.err
    (trouble,) = bad.status()["last_pass"]["trouble"]
    assert (trouble["id"], trouble["what"]) == ("plugin:hubd-bad", "the plugin hubd-bad is left out")
    assert '"memory": 943718400' in bad.read("/opt/hub/state/servers.json")
    assert page(bad)


def test_a_plugin_that_was_mended_is_taken_up_again(bad: HubMachine) -> None:
    done = bad.hubd("apply", "--yes", check=False)
    assert (done.code, "All is right" in done.out + done.err) == (5, False), done
    bad.write("/srv/hubd-bad/hubd_bad.py", "from hubd.api import Notice, hookimpl\n\n\n"
              "@hookimpl\ndef hubd_notices(wanted):\n    return [Notice('mended')]\n")  # fmt: skip
    bad.hubd("apply", "--yes")
    assert "mended" in [notice["say"] for notice in bad.status()["last_pass"]["notices"]]


def test_what_others_could_change_is_not_loaded(bad: HubMachine) -> None:
    bad.shell("chmod g+w /srv/hubd-bad")
    assert "can be changed by others than root" in bad.hubd("apply", "--yes", check=False).out + bad.status()["last_pass"][
        "trouble"
    ][0]["why"]


def test_a_removed_plugin_leaves_no_trace_on_the_pages(announcing: HubMachine) -> None:
    announcing.hubd("announce", "Last words")
    wait_for_text(announcing, "Last words")
    announcing.hubd("announce", "--clear")
    announcing.hubd("config", "remove-item", "plugins", PLUGIN)
    announcing.hubd("apply", "--yes")
    announcing.wait_right()
    assert "Last words" not in page(announcing)
    assert announcing.hubd("announce", "x", check=False).code == 2
    assert announcing.shell("ls /opt/hub/state/announcement").out == ""


def test_the_port_moves_there_and_back_and_waits_for_one_that_is_taken(hub_machine: HubMachine) -> None:
    hub_machine.hubd("config", "set", "proxy.port", "8080")
    hub_machine.hubd("apply", "--yes")
    assert requests.get(hub_machine.url(8080, "/hub/health"), timeout=30).status_code == 200
    hub_machine.shell("systemd-run --quiet --unit=squatter python3 -m http.server 80; sleep 1")
    hub_machine.hubd("config", "unset", "proxy.port")
    done = hub_machine.hubd("apply", "--yes", check=False)
    assert "port 80 cannot be listened on" in done.out + done.err
    assert requests.get(hub_machine.url(8080, "/hub/health"), timeout=30).status_code == 200, "the hub stays where it is"
    hub_machine.shell("systemctl stop squatter")
    hub_machine.hubd("apply", "--yes")
    assert requests.get(hub_machine.url(80, "/hub/health"), timeout=30).status_code == 200
    assert hub_machine.changes() == []
