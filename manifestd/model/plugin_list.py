"""The list of plugins (``manifestd.plugins/v1``)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

SCHEMA_PLUGINS: Final = "manifestd.plugins/v1"


class PluginRow(msgspec.Struct, frozen=True, kw_only=True):
    """One member of one family.

    Attributes:
        family: ``sources``, ``formats``, ``signing``, ``exports``, ``reports``, ``notifiers``.
        name: Its name there.
        package: The package that brings it; ``manifestd`` for built-in ones.
        version: Of that package.
        state: ``ok`` or why it cannot be used; None when nobody looked.
    """

    family: str
    name: str
    package: str
    version: str
    state: str | None = None


class PluginList(msgspec.Struct, frozen=True, kw_only=True):
    """What ``plugins --format json`` prints.

    Attributes:
        plugins: By family; built-in ones first.
    """

    schema: Literal["manifestd.plugins/v1"] = SCHEMA_PLUGINS
    plugins: list[PluginRow]
