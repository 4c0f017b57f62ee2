"""Families of plugins: name -> class, imported when first asked for.

Built-in members stand in a table (one line each); packages from outside add
members by an entry point in the group ``manifestd.<family>``. A built-in name
cannot be taken over.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar, cast

from manifestd.errors import MissingExtraError, UsageError

T = TypeVar("T")

OUTSIDERS: Final = "MANIFESTD_PLUGINS"
"""Set to ``builtin`` this environment variable turns outside plugins off."""


class Family(Generic[T]):
    """One kind of plugin: sources, formats, signers, reports, notifiers, engines.

    Args:
        name: The family's name; its entry point group is ``manifestd.<name>``.
        members: Name -> ``module:Class``.
        extras: Top-level module of an optional library -> name of the extra that brings it.
    """

    def __init__(
        self, name: str, members: Mapping[str, str], extras: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.members = dict(members)
        self.extras = dict(extras or {})

    def names(self) -> list[str]:
        """Built-in names in table order, then outside ones, sorted."""
        return [*self.members, *sorted(set(self.outside()) - set(self.members))]

    def outside(self) -> dict[str, Any]:
        """Entry points of other packages by name; empty when they are turned off."""
        if os.environ.get(OUTSIDERS) == "builtin":
            return {}
        from importlib.metadata import entry_points  # noqa: PLC0415  (0.02 s, rarely needed)

        return {point.name: point for point in entry_points(group=f"manifestd.{self.name}")}

    def load(self, name: str) -> type[T]:
        """Import and return the member called ``name``.

        Raises:
            UsageError: No such member; the hint lists those there are.
            MissingExtraError: Its optional library is not installed.
        """
        target = self.members.get(name)
        try:
            if target is None:
                point = self.outside().get(name)
                if point is None:
                    raise UsageError(
                        f"there is no {self.name.removesuffix('s')} called {name!r}",
                        hint="known are " + ", ".join(self.names()),
                    )
                return cast("type[T]", point.load())
            module, _, attribute = target.partition(":")
            return cast("type[T]", getattr(importlib.import_module(module), attribute))
        except ModuleNotFoundError as error:
            extra = self.extras.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise MissingExtraError(
                f"{name} needs the library {error.name!r}, which is not installed",
                hint=f"pip install 'manifestd[{extra}]'",
            ) from error
