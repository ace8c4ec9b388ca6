"""The hub as hubd runs it: what it holds, and which tokens it takes from hubd."""

from __future__ import annotations

import os
from pathlib import Path

from jupyterhub import orm, roles

from hubd.host.host import Host
from hubd.hubside.app import Hub, forget_old_tokens


def test_the_hub_holds_the_folder_of_the_routes_for_hubd_to_see(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    hub = Hub(held_folder=str(rules))
    assert not Host.is_in_use(None, rules, os.getpid())  # type: ignore[arg-type]  # it needs nothing of a host
    hub._hold_folder()
    assert Host.is_in_use(None, rules, os.getpid())  # type: ignore[arg-type]
    os.close(hub._held)
    Hub()._hold_folder()  # settings that name none


def test_a_token_that_was_replaced_lets_nobody_in_any_more() -> None:
    db = orm.new_session_factory("sqlite:///:memory:")()
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    db.add(orm.OAuthClient(identifier="jupyterhub"))
    forget_old_tokens(db, {"n" * 64})  # a hub that starts for the first time
    for name in ("hubd", "culler"):
        db.add(orm.Service(name=name))
        db.commit()
        orm.Service.find(db, name).new_api_token(f"{name}-old".ljust(64, "x"), generated=False)
    orm.Service.find(db, "hubd").new_api_token("n" * 64, generated=False)
    forget_old_tokens(db, {"n" * 64})
    known = {token: orm.APIToken.find(db, token.ljust(64, "x")) is not None for token in ("hubd-old", "culler-old")}
    assert known == {"hubd-old": False, "culler-old": True}
    assert orm.APIToken.find(db, "n" * 64).service.name == "hubd"
