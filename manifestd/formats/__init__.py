"""What a file says of itself. One line here is all a new format reader needs; first match wins."""

from __future__ import annotations

from functools import cache
from typing import Any

from manifestd.formats.base import FormatReader
from manifestd.formats.names import reader_name
from manifestd.plugins import Family

FORMATS: Family[FormatReader] = Family(
    "formats",
    {
        "shardindex": "manifestd.formats.shardindex:ShardIndexReader",
        "json": "manifestd.formats.jsonfile:JsonReader",
        "card": "manifestd.formats.card:CardReader",
        "safetensors": "manifestd.formats.safetensors:SafetensorsReader",
        "gguf": "manifestd.formats.gguf:GgufReader",
        "torchzip": "manifestd.formats.torchzip:TorchReader",
        "named": "manifestd.formats.named:NamedReader",
        "text": "manifestd.formats.text:TextReader",
    },
)


def reader_for(path: str, size: int) -> FormatReader | None:
    """The reader of a file, None when no reader knows it.

    Built-in readers go by name (``formats/names.py``), so only the one that is
    needed is imported; readers of other packages are asked after them.
    """
    name = reader_name(path)
    if name is not None:
        return _instance(name)
    for outsider in _outsiders():
        if outsider.recognizes(path, size):
            return outsider
    return None


def findings_of(path: str, facts: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What a reader found worth a warning in one file, each with its path.

    Each has ``rule`` (``pickle-global``, ``custom-code`` …), ``at``, ``what`` and ``impact``.
    """
    return [{"path": path, **finding} for finding in (facts or {}).get("findings", [])]


@cache
def _instance(name: str) -> FormatReader:
    return FORMATS.load(name)()


@cache
def _outsiders() -> tuple[FormatReader, ...]:
    names = sorted(set(FORMATS.outside()) - set(FORMATS.members))
    return tuple(_instance(name) for name in names)
