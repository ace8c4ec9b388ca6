"""The facts that wishes depend on: what was recorded, drop-ins, versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubd.config.parse import parse
from hubd.config.problems import ConfigInvalid
from hubd.flow import facts, source
from hubd.layout import HUB_SECRETS, Layout


def read(layout: Layout, text: str = "people: {}") -> facts.Facts:
    return facts.read(layout, parse(text))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for folder in (layout.state, layout.facts, layout.config_d):
        folder.mkdir()
    return layout


def test_an_empty_machine(tmp_path: Path) -> None:
    found = read(Layout(tmp_path / "nothing"))
    assert found["drop-ins"] == {"names": [], "digest": ""}
    assert found["hub"] == {"version": ""}
    assert len(found["server-list"]["digest"]) == 64


def test_recorded_facts_by_name_and_no_damaged_ones(layout: Layout) -> None:
    (layout.facts / "environment-manager.json").write_text('{"manager": "uv"}')
    for name, text in (
        ("a.json", "{"),
        ("b.json", ""),
        ("c.json", "7"),
        (".d.json", '{"x": 1}'),
        ("e.txt", "{}"),
        ("f.json", "\0"),
    ):
        (layout.facts / name).write_text(text)
    (layout.facts / "g.json").write_bytes(b"\xff")
    always = {"drop-ins", "hub", "hub-secrets", "server-list", "files", "server-settings", "requests", "frozen"}
    assert read(layout).keys() == {"environment-manager", *always}
    assert read(layout)["environment-manager"] == {"manager": "uv"}


def test_something_unreadable_among_the_facts_does_not_stop_a_pass(layout: Layout) -> None:
    (layout.facts / "x.json").mkdir()
    assert "x" not in read(layout)


def test_a_recorded_fact_cannot_pose_as_one_that_is_read(layout: Layout) -> None:
    (layout.facts / "hub.json").write_text('{"version": "versions/evil"}')
    assert read(layout)["hub"] == {"version": ""}


def test_drop_ins_change_with_name_and_content(layout: Layout) -> None:
    seen = [read(layout)["drop-ins"]]
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2"), ("notes.txt", "x")):
        (layout.config_d / name).write_text(text)
        seen.append(read(layout)["drop-ins"])
    assert seen[3] == seen[4]
    assert len({each["digest"] for each in seen[:4]}) == 4
    assert seen[-1]["names"] == ["a.py", "b.py"]


NAMED = """environments:
  a: {lock: environments/a.lock, manager: uv}
  b: {file: /ABSOLUTE/b.yml}
  c: {lock: away.lock}
  d: {lock: folder}
  e: {lock: binary}
  f: {lock: large}
  g: {file: https://x.example/g.yml, sha256: SHA}
  h: {lock: environments/a.lock}
  i: {smoke: smoke.ipynb}
"""


def test_the_files_that_environments_are_built_from_or_proven_by(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "LONGEST", 2048)
    for folder in ("environments", "folder"):
        (layout.prefix / folder).mkdir()
    (layout.prefix / "environments/a.lock").write_text("one")
    (layout.prefix / "b.yml").write_text("two")
    (layout.prefix / "smoke.ipynb").write_text("{}")
    (layout.prefix / "binary").write_bytes(b"\xff\xfe")
    (layout.prefix / "large").write_bytes(b"x" * 3000)
    text = NAMED.replace("/ABSOLUTE", str(layout.prefix)).replace("SHA", "'" + "a" * 64 + "'")
    assert read(layout, text)["files"] == {
        "environments/a.lock": {"text": "one"},
        f"{layout.prefix}/b.yml": {"text": "two"},
        "away.lock": {"why": "there is no such file"},
        "folder": {"why": "it is not a file"},
        "binary": {"why": "it is not text"},
        "large": {"why": "it is larger than 2 KB"},
        "smoke.ipynb": {"text": "{}"},
    }


def test_a_file_that_not_everybody_may_read_is_noted_as_that(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    for name, mode in (("open.lock", 0o644), ("own.lock", 0o640), ("closed/in.lock", 0o644)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
    (tmp_path / "link.lock").symlink_to("own.lock")
    (tmp_path / "closed").chmod(0o700)
    hub = Layout(tmp_path / "hub")
    names = ("open.lock", "own.lock", "closed/in.lock", "link.lock")
    text = "environments:\n" + "".join(f"  e{n}: {{lock: {tmp_path / name}}}\n" for n, name in enumerate(names))
    tmp_path.chmod(0o755)
    found = read(hub, text)["files"]
    closed = {name for name in names if "private" in found[str(tmp_path / name)]}
    # Where the tests run in a folder that is closed itself, none is open.
    assert {"own.lock", "link.lock", "closed/in.lock"} <= closed


def test_the_hub_that_is_switched_on(layout: Layout) -> None:
    layout.hub.symlink_to("versions/hub-1")
    assert read(layout)["hub"] == {"version": "versions/hub-1"}


def test_the_secrets_of_the_hub_change_their_fact_and_are_not_in_it(layout: Layout) -> None:
    layout.hub_state.mkdir()
    assert read(layout)["hub-secrets"] == {}
    for name in HUB_SECRETS:
        (layout.hub_state / name).write_text("a" * 64)
    one = read(layout)["hub-secrets"]
    assert one.keys() == set(HUB_SECRETS)
    assert {len(digits) for digits in one.values()} == {12}
    (layout.hub_state / HUB_SECRETS[0]).write_text("b" * 64)
    other = read(layout)["hub-secrets"]
    assert {name for name in HUB_SECRETS if other[name] != one[name]} == {HUB_SECRETS[0]}


def test_what_is_no_secret_of_the_hub_is_not_known(layout: Layout) -> None:
    layout.hub_state.mkdir()
    (layout.prefix / "shadow").write_text("a" * 64)
    first, second, third = (layout.hub_state / name for name in HUB_SECRETS)
    first.symlink_to(layout.prefix / "shadow")
    second.mkdir()
    third.write_text("a" * 63)
    assert read(layout)["hub-secrets"] == {}


def test_no_config_is_a_problem_of_the_config(layout: Layout) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        source.read_text(layout)
    assert "no such file" in str(caught.value)
    layout.config_file.mkdir()
    with pytest.raises(ConfigInvalid):
        source.read_text(layout)


def test_sections_of_a_plugin_that_cannot_be_loaded_are_left_alone(layout: Layout) -> None:
    text = b"plugins: [nowhere]\nsection-of-it: {a: 1}\nlimits: {memory: 1G}\n"
    plugins = source.plugins_of(text, layout)
    assert source.config_of(text, plugins, layout).limits.memory == 1 << 30
    assert [each.plugin for each in plugins.broken] == ["nowhere"]


def test_but_its_own_options_are_judged(layout: Layout) -> None:
    text = b"plugins: [nowhere]\nlimits: {memry: 1G}\n"
    with pytest.raises(ConfigInvalid):
        source.config_of(text, source.plugins_of(text, layout), layout)


def test_data_and_plugins_lie_beside_the_package_in_a_checkout() -> None:
    assert (source.data_folder() / "requirements-server.txt").is_file()
    assert source.bundled_plugins().name in ("plugins", "bundled")


def test_a_folder_that_is_called_like_a_drop_in_is_none(layout: Layout) -> None:
    (layout.config_d / "x.py").mkdir(parents=True)
    assert read(layout)["drop-ins"] == {"names": [], "digest": ""}
