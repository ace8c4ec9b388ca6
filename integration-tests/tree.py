"""Writable copies of machine trees: an overlay where the kernel allows it, a plain copy where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from commands import CommandFailed, run
from made_once import remove_tree


@dataclass(frozen=True, slots=True)
class Tree:
    """A machine's files at rest, as layers, the newest first. Nothing may write into a layer again."""

    layers: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Clone:
    """A writable copy of a tree under `folder`; `root` is what a machine is booted from."""

    source: Tree
    folder: Path
    copied: bool

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def upper(self) -> Path:
        """What was written since the clone was made (the whole tree, where it is a plain copy)."""
        return self.root if self.copied else self.folder / "up"

    def frozen(self, keep: Path) -> Tree:
        """Turn this clone into a tree whose newest layer lies at `keep`; the clone is gone then."""
        self.unmount()
        self.upper.rename(keep)
        return Tree((keep,)) if self.copied else Tree((keep, *self.source.layers))

    def unmount(self) -> None:
        if not self.copied:
            run(("umount", "--", self.root))

    def remove(self) -> None:
        if self.root.is_mount():
            self.unmount()
        remove_tree(self.folder)


def clone(source: Tree, folder: Path) -> Clone:
    """A writable copy of `source` in the new folder `folder`: some milliseconds by overlayfs, some seconds by copying."""
    made = Clone(source, folder, copied=False)
    for part in (made.root, made.upper, folder / "work"):
        part.mkdir(parents=True)
    try:
        _mount(made)
    except CommandFailed:  # for instance because `folder` lies on an overlay itself
        made = Clone(source, folder, copied=True)
        _copy(made)
    return made


def _mount(made: Clone) -> None:
    lower = ":".join(str(layer) for layer in made.source.layers)
    # redirect_dir: without it, renaming a folder of a lower layer fails with EXDEV, which no real disk does.
    options = f"redirect_dir=on,lowerdir={lower},upperdir={made.upper},workdir={made.folder / 'work'}"
    run(("mount", "-t", "overlay", "-o", options, "hubd-test", made.root))


def _copy(made: Clone) -> None:
    if len(made.source.layers) != 1:
        raise CommandFailed("a tree of several layers can only be cloned by overlayfs")
    made.root.rmdir()
    run(("cp", "-a", "--reflink=auto", "--", made.source.layers[0], made.root), timeout=600)
