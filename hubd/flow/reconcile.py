"""One pass, top to bottom: the text of config.yaml becomes a machine that is as it says. Read this file first."""

from __future__ import annotations

import threading

from hubd.flow import facts, record, status
from hubd.flow.apply import Tell, apply
from hubd.flow.desired import desired, with_hub_settings
from hubd.flow.observe import observe
from hubd.flow.plan import plan
from hubd.flow.source import config_of, plugins_of, read_text
from hubd.flow.values import Pass
from hubd.flow.waiting import with_what_waits
from hubd.hooks import Wanted
from hubd.host import Host


def reconcile(host: Host, *, act: bool, tell: Tell, stop: threading.Event | None = None) -> Pass:
    """Make one pass; with `act` False it ends at the plan.

    tell: hears of every step. stop: once set, nothing new is begun.
    Raises ConfigInvalid, and then nothing was changed. The caller holds the machine-wide lock when `act` is True.
    """
    layout, started = host.layout, host.clock()
    text = read_text(layout)
    plugins = plugins_of(text, layout)
    config = config_of(text, plugins, layout)

    known = facts.read(layout, config)
    wanted = with_hub_settings(Wanted(config, layout, known, systemd=host.init.enforces), plugins)
    wishes = desired(wanted, plugins)

    before = record.read(layout)
    going = record.removals(before, wishes)
    seen = observe(host, (*wishes.resources, *going))
    found = plan(wishes.resources, going, seen)
    if not act:
        return Pass(with_what_waits(host, found), broken=wishes.broken)

    claimed = record.claim(before, wishes)
    if found.changes or before.damaged:
        record.write(layout, claimed)
    outcomes = apply(host, wishes.resources, found, tell=tell, stop=stop)
    whole = Pass(found, outcomes, wishes.broken, facts_changed=facts.read(layout, config) != known)
    last = status.last_pass(whole, wanted, plugins, started=started, ended=host.clock(), damaged=before.damaged)
    record.write(layout, record.settle(claimed, wishes, outcomes, last))
    return whole
