"""The floors of the house, kept apart by reading the code: who imports whom, what is pure, how long things are."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "hubd").rglob("*.py"), *(ROOT / "installer").rglob("*.py"), ROOT / "bootstrap.py"])
PLUGINS = sorted((ROOT / "plugins").glob("*/**/*.py"))
SHIPPED = [path for path in (*FILES, *PLUGINS) if "tests" not in path.relative_to(ROOT).parts]

# A module imports from its own floor (the same name) or from a lower line, never sideways or up.
FLOORS: list[set[str]] = [
    {"__init__", "errors", "words", "layout"},
    {"config", "tools"},
    {"host"},
    {"resources", "jobs"},
    {"hooks"},
    {"plugin_loader", "api"},
    {"parts"},
    {"flow"},
    {"show"},
    {"daemon"},
    {"cli"},
    {"hubd_installer"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
ALONE = {"hubside", "serverside"}  # runs inside JupyterHub's own process, and inside JupyterLab's

PURE = (
    "config",
    "tools",
    "parts",
    "flow/desired.py",
    "flow/environment_states.py",
    "flow/plan.py",
    "flow/status.py",
    "flow/values.py",
    "show.py",
    "words.py",
    "layout.py",
    "errors.py",
)
MACHINE = {
    "subprocess",
    "socket",
    "requests",
    "urllib",
    "http",
    "shutil",
    "pwd",
    "grp",
    "fcntl",
    "signal",
    "tempfile",
    "asyncio",
    "systemd",
    "watchfiles",
}
READS = {
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "exists",
    "is_file",
    "is_dir",
    "mkdir",
    "unlink",
    "stat",
    "lstat",
    "iterdir",
    "glob",
    "rglob",
    "touch",
    "rename",
    "chmod",
    "system",
    "environ",
    "getenv",
    "listdir",
    "getuid",
}

# The one door: only hubd.host drives programs and the network. Everything else that does, with its reason.
DOOR = {"subprocess", "socket", "requests", "urllib", "http"}
OTHER_DOORS = {
    "hubd/cli/client.py": {"socket": "asks whether a daemon listens, before anything heavy is imported"},
    "installer/install.py": {"socket": "waits until the public port is free, and finds this machine's address"},
}

LONGEST_FUNCTION = 40
LONGER_FUNCTIONS: dict[str, str] = {}
LONGEST_FILE = 330
LONGER_FILES = {"bootstrap.py": "one file by design: it is fetched alone"}

# Who may speak of one, each with its reason.
DRY_RUNS = {
    "hubd/cli/env_gc.py": "it goes beyond what a pass does: no plan tells of package caches and of what killed work left",
    "hubd/tools/uv.py": "uv's own: what it would add to conda's packages is how the pip part is solved",
    "hubd/jobs/shared.py": "pip's own: what changes nothing is not refused in a shared environment",
    "hubd/tools/conda.py": "conda's own: how it is asked for a plan what it would install",
}

# Pure modules with one function that is not, each with its reason.
NOT_PURE = {("hubd/config/render.py", "main"): "the command that writes the generated files into a checkout"}


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def floor_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "hubd_installer" if parts[0] == "installer" else parts[1] if len(parts) > 1 else parts[0]


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(path)))


@functools.cache
def imports(path: Path, *, runtime_only: bool = False) -> tuple[str, ...]:
    """Every imported module by its full name; `from hubd import x` counts as hubd.x."""
    skipped: set[int] = set()
    for node in nodes(path):
        if runtime_only and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped |= {id(inner) for inner in ast.walk(node)}
    found: list[str] = []
    for node in nodes(path):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative imports hide the floor"
            found += [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "hubd" else [str(node.module)]
    return tuple(found)


def of_hubd(path: Path) -> Iterator[str]:
    """The floors that a file imports from."""
    for module in imports(path):
        first, _, rest = module.partition(".")
        if first == "hubd_installer":
            yield first
        elif first == "hubd":
            second = rest.split(".")[0]
            yield second if second in LEVEL or second in ALONE else "__init__"


def test_imports_go_to_the_own_floor_or_below() -> None:
    wrong = []
    for path in FILES:
        own = floor_of(path)
        for other in of_hubd(path):
            fine = other == own or (own not in ALONE and other not in ALONE and LEVEL[other] < LEVEL.get(own, -1))
            wrong += [] if fine else [f"{name_of(path)} imports from {other}"]
    assert not wrong


def test_every_folder_of_the_house_has_a_floor() -> None:
    found = {floor_of(path) for path in FILES if path.name != "bootstrap.py"}
    assert found == LEVEL.keys() | ALONE


def test_plugins_import_the_public_surface_only() -> None:
    found = {(name_of(path), module) for path in PLUGINS for module in imports(path) if module.startswith("hubd.")}
    assert {module for name, module in found if "/tests/" not in name} <= {"hubd.api"}, found


def test_code_inside_the_hub_needs_only_what_the_hub_has() -> None:
    allowed = {
        "jupyterhub",
        "tornado",
        "traitlets",
        "firstuseauthenticator",
        "jupyterhub_traefik_proxy",
        "hubd",
        "bcrypt",
        "sqlalchemy",
        "systemd",
    }
    for path in (ROOT / "hubd/hubside").glob("*.py"):
        others = {module.split(".")[0] for module in imports(path)} - set(sys.stdlib_module_names)
        assert others <= allowed, name_of(path)


def test_code_inside_peoples_servers_needs_only_what_jupyterlab_has() -> None:
    for path in (ROOT / "hubd/serverside").glob("*.py"):
        others = {module.split(".")[0] for module in imports(path)} - set(sys.stdlib_module_names)
        assert others <= {"jupyter_server", "jupyter_client"}, name_of(path)


def test_bootstrap_needs_nothing_but_python() -> None:
    assert {module.split(".")[0] for module in imports(ROOT / "bootstrap.py")} <= set(sys.stdlib_module_names)


def pure_files() -> list[Path]:
    whole = [ROOT / "hubd" / name for name in PURE]
    return sorted(path for each in whole for path in (each.rglob("*.py") if each.is_dir() else [each]))


def test_pure_floors_import_nothing_that_acts() -> None:
    # urllib.parse only takes words apart.
    met = [
        f"{name_of(path)} imports {module}"
        for path in pure_files()
        for module in imports(path, runtime_only=True)
        if module != "urllib.parse" and (module.split(".")[0] in MACHINE or module.startswith("hubd.host"))
    ]
    assert not met


def test_pure_floors_read_and_write_nothing() -> None:
    acts = [f"{name_of(path)}:{line} {word}" for path in pure_files() for line, word in _acts(path)]
    assert not acts


def _acts(path: Path) -> Iterator[tuple[int, str]]:
    excused = set()
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef) and (name_of(path), node.name) in NOT_PURE:
            excused |= {id(inner) for inner in ast.walk(node)}
    for node in nodes(path):
        if id(node) in excused:
            continue
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Call):
            word = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if word == "open" or (isinstance(node.func, ast.Attribute) and word in READS):
                yield node.lineno, word


def test_there_is_one_door_to_programs_and_the_network() -> None:
    found = {}
    for path in FILES:
        used = {module.split(".")[0] for module in imports(path) if module != "urllib.parse"} & DOOR
        if used and floor_of(path) not in ("host", "hubside", "bootstrap"):
            found[name_of(path)] = used
    assert found == {name: reasons.keys() for name, reasons in OTHER_DOORS.items()}


def test_the_whole_pass_reads_on_one_page() -> None:
    assert len((ROOT / "hubd/flow/reconcile.py").read_text().splitlines()) <= 60


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function with its length in lines, docstring and decorators aside."""
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node):
                length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield f"{name_of(path)}:{node.name}", length


def test_functions_are_short() -> None:
    found = {name: length for path in SHIPPED for name, length in functions(path) if length > LONGEST_FUNCTION}
    assert found.keys() == LONGER_FUNCTIONS.keys(), found


def test_files_are_short() -> None:
    found = {name_of(path): len(path.read_text().splitlines()) for path in SHIPPED}
    assert {name for name, length in found.items() if length > LONGEST_FILE} == LONGER_FILES.keys()


def test_every_module_says_what_is_in_it() -> None:
    silent = [name_of(path) for path in SHIPPED if len((ast.get_docstring(tree(path)) or "").split()) < 4]
    assert not silent


def test_names_that_say_nothing_are_not_used() -> None:
    assert not [name_of(path) for path in SHIPPED if re.search(r"utils?|helpers?|managers?|misc|common", path.stem)]


def test_there_is_no_dry_run_switch() -> None:
    # The plan is the dry run: a flag would be a second truth.
    found = {name_of(path) for path in SHIPPED if re.search(r"dry_run|--dry-run", path.read_text())}
    assert found == DRY_RUNS.keys()


PROGRAMS = ("__main__.py", "bootstrap.py", "jupyter_server_config.py")


def test_nothing_happens_at_import() -> None:
    passive = (
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Assign,
        ast.AnnAssign,
        ast.If,
        ast.Try,
    )
    acts = [
        f"{name_of(path)}:{node.lineno}"
        for path in SHIPPED
        for node in tree(path).body
        if path.name not in PROGRAMS and not isinstance(node, passive) and not _is_text(node)
    ]
    assert not acts


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
