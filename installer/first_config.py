"""config.yaml of a new hub: from a file or a preset, with the admins, port and plugins that were asked for."""

from __future__ import annotations

from collections.abc import Callable

from hubd.config.edit import add_items, set_value, unset
from hubd.errors import UsageError
from hubd.flow.source import bundled_plugins, config_of, data_folder, plugins_of
from hubd.host import files
from hubd.layout import ADMINS_GROUP, Layout
from hubd_installer.options import Options

DEFAULT_PRESET = "demo"
HEADER = "# What this hub should be. `hubd config --help` tells how to change it, `hubd config schema` what there is.\n\n"


def put_in_place(layout: Layout, options: Options, *, say: Callable[[str], None] = lambda words: None) -> None:
    """Write config.yaml where there is none, or add what was asked for to the one there is.

    say: is told that a file or preset that was asked for is not used, as the hub has its config.yaml already.
    Raises UsageError for an unknown preset, ConfigInvalid where the result would not be valid; then nothing is written.
    """
    new = _new_text(options)  # also where it is not used: a slip of the finger is told in any case
    before = files.read(layout.config_file)
    text = new if before is None else before
    after = _with_wishes(text, options, layout)
    if after != before:
        group = ADMINS_GROUP if _group_exists(ADMINS_GROUP) else None
        keep = before is not None
        files.write_atomic(layout.config_file, after, mode=0o640, group=group, keep=keep)
    given = f"--config {options.config}" if options.config else f"--preset {options.preset}" if options.preset else ""
    if before is not None and given:
        say(f"{layout.config_file} is there already and is kept; {given} is not used.")


def _new_text(options: Options) -> bytes:
    preset = _preset(options.preset or DEFAULT_PRESET)
    # The people of a preset are examples.
    return files.read(options.config) or b"" if options.config else HEADER.encode() + unset(preset, "people").text.encode()


def _preset(name: str) -> bytes:
    presets = data_folder() / "presets"
    data = files.read(presets / f"{name}.yaml") if name.replace("-", "").isalnum() else None
    if data is None:
        known = ", ".join(found.removesuffix(".yaml") for found in files.children(presets))
        raise UsageError(f"there is no preset {name!r}", fix=f"Choose one of {known}.")
    return data


def _with_wishes(text: bytes, options: Options, layout: Layout) -> bytes:
    for plugin in options.plugins:
        if not (bundled_plugins() / plugin).is_dir():
            raise UsageError(f"there is no plugin {plugin!r} that comes with hubd", fix="Add it to config.yaml with its source.")
        text = add_items(text, "plugins", [plugin], plugins_of(text, layout).sections()).text.encode()
    plugins = plugins_of(text, layout)
    sections = plugins.sections()
    if options.port:
        text = set_value(text, "proxy.port", str(options.port), sections).text.encode()
    if options.admins:
        text = add_items(text, "people.admins", options.admins, sections).text.encode()
    config_of(text, plugins, layout)
    return text


def _group_exists(name: str) -> bool:
    import grp

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
