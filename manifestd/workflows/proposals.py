"""``[[model]]`` entries for models that a configuration lacks, as text to paste into it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from manifestd.config import Config
from manifestd.config.toml import key, quoted
from manifestd.display import printable, size_text
from manifestd.errors import ManifestdError
from manifestd.model.discovery import FoundModel
from manifestd.workflows.sides import place_key, side_for, sides_of

_FIELD: Final = re.compile(r"\{\{|\}\}|\{(name|org|repo)\}")
_PARTS: Final = {"name": r"(?P<name>.+)", "org": r"(?P<org>[^/]+)", "repo": r"(?P<repo>[^/]+)"}


def proposals(config: Config, models: Iterable[FoundModel], side: str) -> str:
    """An entry for each model, with its side where the default template gives another place.

    Args:
        config: What the entries are for.
        models: What it lacks.
        side: What the source's side is called.
    """
    return "\n".join(_entry(config, model, side) for model in models)


def _entry(config: Config, model: FoundModel, side: str) -> str:
    lines = ["[[model]]"]
    remark = _remark(model)
    if remark:
        lines.insert(0, f"# {remark}")
    scheme = model.reference.partition("://")[0]
    name = named(model, side_for(config, f"{scheme}://")[1].partition("@")[0])
    lines.append(f"name = {quoted(name)}")
    try:
        by_default = sides_of(config, name).get(side)
    except ManifestdError:  # the default template does not fit this name
        by_default = None
    if by_default is None or place_key(by_default) != place_key(model.reference):
        place = model.reference.replace("{", "{{").replace("}", "}}")
        at = "@main" if place.startswith("hf://") else ""
        lines.append(f"sides = {{ {key(side)} = {quoted(place + at)} }}")
    return "\n".join(lines) + "\n"


def named(model: FoundModel, template: str) -> str:
    """The name that makes the template give the model's place; else the one it has."""
    pieces: list[str] = []
    at = 0
    for match in _FIELD.finditer(template):
        pieces.append(re.escape(template[at : match.start()]))
        field = match[1]
        known = field and f"(?P<{field}>" in "".join(pieces)
        pieces.append(
            re.escape(match[0][0]) if not field else f"(?P={field})" if known else _PARTS[field]
        )
        at = match.end()
    pieces.append(re.escape(template[at:].rstrip("/")))
    found = re.fullmatch("".join(pieces), model.reference.rstrip("/")) if template else None
    if found is None:
        return model.name
    parts = found.groupdict()
    if "name" in parts:
        return str(parts["name"])
    if {"org", "repo"} <= parts.keys():
        return f"{parts['org']}/{parts['repo']}"
    return str(parts.get("repo") or model.name)


def _remark(model: FoundModel) -> str:
    parts = [
        size_text(model.bytes) if model.bytes is not None else "",
        f"{model.files} files" if model.files is not None else "",
        ", ".join(model.licenses),
        ", ".join(model.formats),
        "gated" if model.gated else "",
        "private" if model.private else "",
    ]
    return printable("; ".join(part for part in parts if part))
