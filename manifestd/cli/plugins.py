"""``plugins``: every member of every family, and who brings it."""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

from manifestd._version import __version__
from manifestd.cli.options import FORMAT
from manifestd.cli.output import emit, emit_json, table
from manifestd.errors import ManifestdError
from manifestd.model.plugin_list import PluginList, PluginRow

FAMILIES: Final = {
    "sources": "manifestd.sources",
    "formats": "manifestd.formats",
    "signing": "manifestd.signing",
    "exports": "manifestd.exports",
    "reports": "manifestd.reports",
    "notifiers": "manifestd.notifiers",
}
"""Family -> the module whose table has its members."""


@click.command(
    epilog="Example: manifestd plugins. Exit codes: 0 listed. "
    "MANIFESTD_PLUGINS=builtin turns packages from outside off."
)
@click.option("--check", is_flag=True, help="Also import each member and say what is missing.")
@FORMAT
def plugins(form: str, *, check: bool) -> int:
    """List sources, formats, signers, exports, reports, notifiers: name, package, version.

    A package adds a member by an entry point in the group manifestd.FAMILY.
    Built-in names cannot be taken over.
    """
    rows = [row for family in FAMILIES for row in _members(family, check=check)]
    if form == "json":
        emit_json(PluginList(plugins=rows))
        return 0
    keys = ["family", "name", "package", "version", *(["state"] if check else [])]
    lines = [[str(getattr(row, key)) for key in keys] for row in rows]
    emit(table(lines, [key.upper() for key in keys]))
    return 0


def _members(family: str, *, check: bool) -> list[PluginRow]:
    from manifestd.plugins import Family

    module = importlib.import_module(FAMILIES[family])
    [found] = [value for value in vars(module).values() if isinstance(value, Family)]
    outside = found.outside()
    rows = []
    for name in found.names():
        package, version = "manifestd", __version__
        if name not in found.members:
            distribution = outside[name].dist
            package = distribution.name if distribution else "unknown"
            version = distribution.version if distribution else "unknown"
        state = _state(found, name) if check else None
        rows.append(
            PluginRow(family=family, name=name, package=package, version=version, state=state)
        )
    return rows


def _state(family: Any, name: str) -> str:
    """``ok``, or why it cannot be used. A plugin from outside may fail in any way."""
    try:
        family.load(name)
    except ManifestdError as error:
        return f"{error.what}: {error.hint}" if error.hint else error.what
    except Exception as error:
        return f"broken: {type(error).__name__}"
    return "ok"
