"""Lazy registries: an open room lists its entries as `name → "module:attribute"` and imports one when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from segtune.core.errors import unknown_name

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Named entries of one kind, imported on first use.

    Args:
        kind: what an entry is, in words for people ("loss").
        entries: `name → "package.module:attribute"`.
        group: the entry-point group through which other packages add theirs ("segtune.losses").

    Raises:
        UsageError: on an unknown name; the message lists the choices and the nearest.
    """

    def __init__(self, kind: str, entries: Mapping[str, str], group: str) -> None:
        self.kind = kind
        self.group = group
        self._targets = dict(entries)
        self._loaded: dict[str, Entry] = {}
        self._foreign_read = False

    def __getitem__(self, name: str) -> Entry:
        if name not in self._loaded:
            targets = self._all_targets()
            if name not in targets:
                raise unknown_name(self.kind, name, targets)
            module, _, attribute = targets[name].partition(":")
            self._loaded[name] = cast(Entry, getattr(importlib.import_module(module), attribute))
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all_targets())

    def __len__(self) -> int:
        return len(self._all_targets())

    def __contains__(self, name: object) -> bool:
        # Mapping's own would import the entry, and on an unknown name raise what is no KeyError.
        return name in self._all_targets()

    def _all_targets(self) -> dict[str, str]:
        if not self._foreign_read:
            # Ours win: a foreign package may add a name, not silently replace one.
            foreign = {point.name: point.value for point in entry_points(group=self.group)}
            self._targets = {**foreign, **self._targets}
            self._foreign_read = True
        return self._targets
