"""Where a pass begins: the bytes of config.yaml, and the plugins that it declares."""

from __future__ import annotations

from pathlib import Path

import hubd
from hubd.config.model import Config
from hubd.config.parse import declared_plugins, parse, parse_node, unreadable
from hubd.config.text import read
from hubd.errors import HubdError
from hubd.host import files
from hubd.layout import Layout
from hubd.plugin_loader import Plugins, load


def read_text(layout: Layout) -> bytes:
    """The file's bytes. Raises ConfigInvalid when it is missing, unreadable or no file."""
    try:
        # Not `read_bytes`: that waits for ever where a pipe is in the file's place, and eats all memory where a device is.
        data = files.read(layout.config_file)
    except HubdError as error:
        raise unreadable(layout.config_file, error) from error
    if data is None:
        raise unreadable(layout.config_file, None)
    return data


def plugins_of(text: bytes, layout: Layout) -> Plugins:
    """The built-in parts and the plugins that the text declares."""
    return load(declared_plugins(text, source=str(layout.config_file)), bundled=bundled_plugins())


def config_of(text: bytes, plugins: Plugins, layout: Layout) -> Config:
    """The configuration. Raises ConfigInvalid with every problem.

    Where a plugin could not be loaded nobody knows its sections, so unknown ones are left alone until it can.
    """
    source = str(layout.config_file)
    sections = plugins.sections()
    if not plugins.broken:
        return parse(text, sections, source=source)
    node = read(text, source=source)
    known = {*Config.model_fields, *sections}
    return parse_node(node, sections, source=source, unread=[name for name in node.data if name not in known])


def bundled_plugins() -> Path:
    """The folder of the plugins that come with hubd: in the package, or beside it in a checkout."""
    package = Path(hubd.__file__).parent
    inside = package / "bundled"
    return inside if inside.is_dir() else package.parent / "plugins"


def data_folder() -> Path:
    """The folder of hubd's data files (requirement lists, presets): in the package, or beside it in a checkout."""
    package = Path(hubd.__file__).parent
    inside = package / "data"
    return inside if inside.is_dir() else package.parent / "config"
