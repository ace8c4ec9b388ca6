"""A lock as an environment.yml: what is in it, and that hubd itself takes it back."""

from __future__ import annotations

import pytest

from hubd.config.environment_file import parse_environment_file
from hubd.tools.environment_yml import environment_text, exported
from hubd.tools.lock import Lock, conda_package

HASH = f" --hash=sha256:{'a' * 64}"
FORGE = "https://conda.anaconda.org/conda-forge"
FILES = ("linux-64/python-3.12.1-h5_cpython.conda", "noarch/ipykernel-6.29-py_0.conda")
CONDA = tuple(conda_package(f"{FORGE}/{file}") for file in FILES)
OWN = conda_package("file:///srv/channel/linux-64/geo-1.0-0.tar.bz2")
BIO = conda_package("https://conda.anaconda.org/bioconda/noarch/bwa-0.7-1.conda")
PIP = (f"six==1.17.0{HASH}{HASH}", f"x[y]==1 ; python_version >= '3'{HASH}", f"mine @ https://x.example/it's-1.whl{HASH}")

LOCKS = [
    # what the file then asks for: channels, packages, pip
    (Lock(manager="conda", platform="linux-64", conda=CONDA, pip=PIP), ["conda-forge"],
     ["ipykernel=6.29=py_0", "python=3.12.1=h5_cpython"],
     ["mine @ https://x.example/it's-1.whl", "six==1.17.0", "x[y]==1 ; python_version >= '3'"]),
    (Lock(manager="conda", platform="linux-64", conda=(*CONDA, BIO)), ["conda-forge", "bioconda"],
     ["bioconda::bwa=0.7=1", "conda-forge::ipykernel=6.29=py_0", "conda-forge::python=3.12.1=h5_cpython"], []),
    (Lock(manager="conda", platform="linux-64", conda=(*CONDA, OWN)), ["conda-forge", "file:///srv/channel"],
     ["conda-forge::ipykernel=6.29=py_0", "conda-forge::python=3.12.1=h5_cpython", "geo=1.0=0"], []),
    (Lock(manager="uv", platform="linux-64", python="3.12", pip=(f"ipykernel==7.0{HASH}",)), [], ["python=3.12"],
     ["ipykernel==7.0"]),
]  # fmt: skip


@pytest.mark.parametrize(("lock", "channels", "packages", "pip"), LOCKS)
def test_what_is_exported_is_taken_back(lock: Lock, channels: list[str], packages: list[str], pip: list[str]) -> None:
    text = environment_text("geo.a", lock, about="From here.")
    assert text.startswith("# From here.\n")
    found = parse_environment_file(text, source="geo.yml", language="python")
    assert [list(each) for each in (found.channels, found.packages, found.pip, found.notices)] == [channels, packages, pip, []]


def test_no_channels_of_condas_own_are_added() -> None:
    assert exported("geo", LOCKS[0][0])["channels"] == ["conda-forge", "nodefaults"]
    assert exported("geo", LOCKS[3][0])["channels"] == []
    assert "channels" not in environment_text("geo", LOCKS[3][0], about="")


@pytest.mark.parametrize("name", ["7", "1e3", "No", "null"])
def test_a_name_that_yaml_would_take_for_something_else_is_a_text(name: str) -> None:
    assert f"name: '{name}'" in environment_text(name, LOCKS[3][0], about="").splitlines()
