"""The file that the `hubd config` commands work on: read it with its plugins' sections, lock it, write it whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pydantic and ruamel.yaml are loaded by the commands that need them, not by `hubd --help`
    from hubd.config.model import Config
    from hubd.config.section import Section
    from hubd.layout import Layout

LOCK_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One configuration file: the hub's own, or another one to try things on."""

    layout: Layout
    path: Path

    @property
    def is_the_hubs(self) -> bool:
        """Whether it is the file that the hub follows."""
        return self.path == self.layout.config_file

    @property
    def draft(self) -> Path:
        """Where an editor's text is kept until it is valid."""
        return self.path.with_name(f".{self.path.name}.draft")

    def read(self) -> bytes:
        """The file's bytes. Raises ConfigInvalid where it is missing, no file, or may not be read."""
        from hubd.errors import HubdError
        from hubd.host import files

        reason: Exception | None = None
        data: bytes | None = None
        try:
            data = files.read(self.path)
        except (HubdError, OSError) as error:
            reason = error
        if data is None:
            from hubd.config.parse import unreadable

            raise unreadable(self.path, reason)
        return data

    def parse(self, text: bytes, *, source: Path | None = None) -> Config:
        """What `text` declares. Raises ConfigInvalid with every problem."""
        from hubd.config.parse import parse

        sections, unread = self.sections(text)
        return parse(text, sections, source=str(source or self.path), unread=unread)

    def sections(self, text: bytes) -> tuple[Mapping[str, type[Section]], tuple[str, ...]]:
        """The sections of the plugins that `text` declares, and the names nobody can judge as a plugin is broken."""
        from hubd.config.model import Config
        from hubd.config.parse import declared_plugins

        if b"plugins" not in text or not declared_plugins(text, source=str(self.path)):
            return {}, ()  # the usual case, without the price of loading plugins
        from hubd.config.text import read
        from hubd.flow.source import plugins_of

        plugins = plugins_of(text, self.layout)
        sections = plugins.sections()
        if not plugins.broken:
            return sections, ()
        known = {*Config.model_fields, *sections}
        return sections, tuple(name for name in read(text).data if name not in known)

    def write(self, text: bytes) -> None:
        """Put `text` in place by one rename, with the mode and owner of the file before it."""
        from hubd.host import files

        files.write_atomic(self.path, text, keep=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the hub's own file meanwhile; other files belong to whoever edits them. Raises Locked."""
        from hubd.errors import Locked
        from hubd.host.locks import file_lock

        if not self.is_the_hubs:
            yield
            return
        lock = file_lock(self.layout.state / "config.lock", wait=LOCK_WAIT, what="changing the configuration")
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(lock)
            except Locked as busy:
                what = "the configuration is being changed by somebody else"
                raise Locked(what, why=busy.why, fix="try again in a moment", retry=True) from busy
            yield
