"""Kernels of environments that people made themselves, on real folders; jupyter_client is the real one where it is there."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import hubd.serverside

CODE = Path(hubd.serverside.__file__).with_name("own_kernels.py")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The manager of kernels that Jupyter is given, which looks into `envs`."""
    pytest.importorskip("jupyter_client")
    monkeypatch.setenv("HUBD_OWN_ENVIRONMENTS", f"{tmp_path / 'envs'}:{tmp_path / 'elsewhere'}")
    settings = SimpleNamespace(ServerApp=SimpleNamespace())
    runpy.run_path(str(CODE), {"get_config": lambda: settings})
    manager = settings.ServerApp.kernel_spec_manager_class()
    manager.kernel_dirs, manager.ensure_native_kernel = [str(tmp_path / "shared")], False
    return manager


def kernel(folder: Path, *, argv: list[str], language: str = "python", **more: Any) -> None:
    folder.mkdir(parents=True)
    said = {"argv": argv, "display_name": "Python 3 (ipykernel)", "language": language, **more}
    (folder / "kernel.json").write_text(json.dumps(said))


def environment(prefix: Path, *, conda: bool = True) -> Path:
    mark = prefix / ("conda-meta/history" if conda else "pyvenv.cfg")
    mark.parent.mkdir(parents=True)
    mark.write_text("")
    (prefix / "bin").mkdir()
    (prefix / "bin/python").write_text("")
    return prefix


def test_an_environment_is_a_kernel_as_soon_as_it_is_there(own: Any, tmp_path: Path) -> None:
    assert own.get_all_specs() == {}
    prefix = environment(tmp_path / "envs/Geo", conda=False)
    kernel(prefix / "share/jupyter/kernels/python3", argv=["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    found = own.get_all_specs()["own-geo"]["spec"]
    assert found["display_name"] == "Geo (my own)"
    assert found["argv"] == [f"{prefix}/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    assert found["env"]["VIRTUAL_ENV"] == str(prefix)
    assert found["env"]["PATH"].startswith(f"{prefix}/bin:")


def test_a_shared_kernel_is_not_hidden_by_ones_own_of_the_same_name(own: Any, tmp_path: Path) -> None:
    kernel(tmp_path / "shared/geo", argv=["/opt/hub/envs/geo/current/bin/python"])
    prefix = environment(tmp_path / "envs/geo")
    kernel(prefix / "share/jupyter/kernels/python3", argv=[f"{prefix}/bin/python"])
    assert own.get_all_specs().keys() == {"geo", "own-geo"}
    assert own.get_kernel_spec("geo").argv == ["/opt/hub/envs/geo/current/bin/python"]


def test_what_is_being_made_or_is_no_environment_is_not_offered(own: Any, tmp_path: Path) -> None:
    for name in ("made", "half", "plain"):
        kernel(tmp_path / f"envs/{name}/share/jupyter/kernels/python3", argv=["python"])
    environment(tmp_path / "envs/made")
    environment(tmp_path / "envs/half")
    (tmp_path / "envs/.half.unfinished").write_text("")
    environment(tmp_path / "envs/bare")
    assert own.get_all_specs().keys() == {"own-made"}


def test_several_kernels_of_one_environment_have_names_of_their_own(own: Any, tmp_path: Path) -> None:
    prefix = environment(tmp_path / "elsewhere/stats")
    kernel(prefix / "share/jupyter/kernels/python3", argv=["python"])
    kernel(prefix / "share/jupyter/kernels/ir", argv=["R", "--slave"], language="R")
    (prefix / "lib/R").mkdir(parents=True)
    found = own.get_all_specs()
    assert found["own-stats-ir"]["spec"]["display_name"] == "stats, R (my own)"
    assert found["own-stats-ir"]["spec"]["env"]["R_HOME"] == f"{prefix}/lib/R"
    assert found["own-stats-python3"]["spec"]["display_name"] == "stats (my own)"


@pytest.mark.real_programs
def test_activation_scripts_run_before_the_kernel(own: Any, tmp_path: Path) -> None:
    prefix = environment(tmp_path / "envs/geo")
    kernel(prefix / "share/jupyter/kernels/python3", argv=["/usr/bin/env"], env={"MINE": "a$b"})
    scripts = prefix / "etc/conda/activate.d"
    scripts.mkdir(parents=True)
    (scripts / "gdal.sh").write_text('export GDAL_DATA="$CONDA_PREFIX/share/gdal"\n')
    found = own.get_kernel_spec("own-geo")
    assert found.env["MINE"] == "a$$b"
    done = subprocess.run(found.argv, env=found.env, capture_output=True, text=True, check=True)
    assert f"GDAL_DATA={prefix}/share/gdal" in done.stdout.splitlines()


def test_a_damaged_kernel_hides_no_other(own: Any, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        environment(tmp_path / "envs" / name)
        kernel(tmp_path / f"envs/{name}/share/jupyter/kernels/python3", argv=["python"])
    (tmp_path / "envs/bad/share/jupyter/kernels/python3/kernel.json").write_text("{")
    assert own.get_all_specs().keys() == {"own-good"}


def test_who_may_have_none_has_none(own: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(tmp_path / "envs/geo")
    kernel(tmp_path / "envs/geo/share/jupyter/kernels/python3", argv=["python"])
    assert own.get_all_specs().keys() == {"own-geo"}
    monkeypatch.delenv("HUBD_OWN_ENVIRONMENTS")
    assert own.get_all_specs() == {}
    with pytest.raises(KeyError):
        own.get_kernel_spec("own-geo")
