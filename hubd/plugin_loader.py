"""Finding declared plugins, loading them, and fencing each: one that raises is named and the rest goes on."""

from __future__ import annotations

import importlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pluggy

from hubd import hooks
from hubd.config.model import Config, Plugin
from hubd.config.section import Section
from hubd.resources.base import Resource
from hubd.words import plain

BUILT_IN = ("machine", "people", "environments", "servers", "proxy", "hub")

MAPPINGS = ("hubd_config_sections", "hubd_hub_settings")
ANSWERS: Mapping[str, type] = {
    "hubd_config_sections": type, "hubd_hub_settings": Mapping, "hubd_resources": Resource, "hubd_notices": hooks.Notice,
}  # fmt: skip

# `sys.exit` in a plugin is an error of the plugin, and not the end of hubd.
FENCED = (Exception, SystemExit)

# What pluggy's markers leave on a function.
_MARKS = (f"{hooks.PROJECT}_impl", f"{hooks.PROJECT}_spec")

# Plugins' modules as this process imported them: where from, and the state of their files.
_imported: dict[str, tuple[Path, tuple[object, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that could not be loaded or raised in a hook."""

    plugin: str
    why: str


@dataclass(slots=True)
class Plugins:
    """The parts and plugins of one pass. broken: what went wrong with any of them, in the order it happened."""

    manager: pluggy.PluginManager
    broken: list[Broken] = field(default_factory=list)

    def each(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """What every plugin answers to `hook`, with its name. Built-in parts first, in their order.

        A plugin that raises is fenced; an error of a built-in part is a bug and is raised.
        """
        for name, module in self.manager.list_name_plugin():
            try:
                implementation: Callable[..., Any] | None = getattr(module, hook, None)
                if implementation is None or module is None:
                    continue
                answer = _checked(hook, implementation(**arguments))
            except FENCED as error:
                if name in BUILT_IN:
                    raise
                self.fence(name, f"{hook}: {_told(error)}")
            else:
                yield name, answer

    def fence(self, plugin: str, why: str) -> None:
        """Name a plugin as broken; it stays out of the rest of this pass."""
        self.broken.append(Broken(plugin, why))
        if self.manager.has_plugin(plugin):
            self.manager.unregister(name=plugin)

    def sections(self) -> dict[str, type[Section]]:
        """The sections of config.yaml that plugins bring."""
        found: dict[str, type[Section]] = {}
        for name, sections in list(self.each("hubd_config_sections")):
            for key, model in sections.items():
                if key in found:
                    self.fence(name, f"the section `{key}` belongs to another plugin")
                elif hasattr(Config, key) or key in Config.model_fields:
                    self.fence(name, f"`{key}` is a section of hubd's own")
                else:
                    found[key] = model
        return found


def _checked(hook: str, answer: Any) -> Any:
    """What a hook answered, read to its end: a generator runs only then. Raises TypeError for what its spec does not allow."""
    if not isinstance(answer, Mapping):
        answer = tuple(answer)
    if isinstance(answer, Mapping) != (hook in MAPPINGS):
        raise TypeError(f"it gives a {type(answer).__name__}")
    for each in answer.values() if isinstance(answer, Mapping) else answer:
        right = issubclass(each, Section) if isinstance(each, type) else isinstance(each, ANSWERS.get(hook, object))
        if not right:
            raise TypeError(f"it gives {each!r:.80}")
    if hook == "hubd_hub_settings":
        json.dumps(answer)  # the hub reads them as JSON
    return answer


def _told(error: BaseException) -> str:
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  # its words are other people's code, too
        words = "it does not say why"
    return plain(f"{type(error).__name__}: {words}")


class _Manager(pluggy.PluginManager):
    """Looks for hooks among the marked functions of modules. pluggy asks every name for all it might be, at each pass anew."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return super().parse_hookimpl_opts(plugin, name) if _is_marked(plugin, name) else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return super().parse_hookspec_opts(module_or_class, name) if _is_marked(module_or_class, name) else None


def _is_marked(module: ModuleType, name: str) -> bool:
    function = vars(module).get(name)
    return isinstance(function, FunctionType) and any(mark in vars(function) for mark in _MARKS)


def load(declared: Iterable[Plugin], *, bundled: Path) -> Plugins:
    """The built-in parts and the declared plugins. bundled: the folder of the plugins that come with hubd."""
    manager = _Manager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    for name in BUILT_IN:
        manager.register(importlib.import_module(f"hubd.parts.{name}"), name=name)
    plugins = Plugins(manager)
    for plugin in declared:
        try:
            manager.register(_import(plugin, bundled), name=plugin.name)
            manager.check_pending()
        except FENCED as error:  # other people's code: whatever it raises
            plugins.fence(plugin.name, _told(error))
    return plugins


def _import(plugin: Plugin, bundled: Path) -> ModuleType:
    folder = Path(plugin.source) if plugin.source else bundled / plugin.name
    if not folder.exists():
        where = "it does not come with hubd: give its `source`" if not plugin.source else f"{folder} is not there"
        raise FileNotFoundError(where)
    if plugin.source:  # those that come with hubd lie beside hubd's own code
        _refuse_others_files(folder)
    root = folder / "src" if (folder / "src").is_dir() else folder
    module = plugin.name.replace("-", "_")
    _forget_if_changed(module, root)
    if str(root) not in sys.path:
        sys.path.append(str(root))
    loaded = importlib.import_module(module)
    if not Path(loaded.__file__ or "").resolve().is_relative_to(root.resolve()):
        raise ImportError(f"{module} is another module, {loaded.__file__}; give the plugin a name of its own")
    return loaded


def _forget_if_changed(module: str, root: Path) -> None:
    """Have a plugin whose files changed imported anew: the daemon lives for months."""
    files = tuple((path, status.st_mtime_ns, status.st_size) for path in sorted(root.rglob("*.py")) for status in (path.stat(),))
    before, _imported[module] = _imported.get(module), (root, files)
    if before is None or before == (root, files):
        return
    if before[0] != root and str(before[0]) in sys.path:
        sys.path.remove(str(before[0]))
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _refuse_others_files(folder: Path) -> None:
    """A plugin runs as root, so nobody else may be able to change it."""
    if os.geteuid() != 0:
        return
    inside = folder.rglob("*") if folder.is_dir() else iter(())
    for path in (folder, *folder.parents, *inside):
        status = path.stat()
        sticky = bool(status.st_mode & stat.S_ISVTX)
        if status.st_uid != 0 or (status.st_mode & 0o022 and not sticky):
            raise PermissionError(f"{path} can be changed by others than root; `chown root` and `chmod go-w` it")
