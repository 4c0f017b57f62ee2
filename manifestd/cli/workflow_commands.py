"""Workflow commands of GitHub Actions: written on purpose, and never by a name.

The runner reads what a step prints and obeys lines such as ``::add-mask::x`` or ``##[error]``.
A file of a model can be called so; :func:`guard` takes the meaning from it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import Final, TextIO

_NEW: Final = re.compile(r"^(\s*):(?=:)", re.MULTILINE)
_OLD: Final = "##["


def inside(environ: Mapping[str, str]) -> bool:
    """Whether this is a step of GitHub Actions."""
    return environ.get("GITHUB_ACTIONS") == "true"


def guarded(text: str, stream: TextIO, *, json: bool | None = None) -> str:
    """What to print instead of ``text``: the same, outside of Actions and into files.

    Args:
        text: Whole lines.
        stream: Where it goes.
        json: It is JSON, or a part of it; None: by how it begins.
    """
    if not inside(os.environ) or _is_file(stream):
        return text
    return guard(text, json=text.startswith("{") if json is None else json)


def guard(text: str, *, json: bool = False) -> str:
    r"""Text whose lines are no commands to the runner.

    Args:
        text: What is printed.
        json: It is JSON: ``#`` is then written as ``\u0023``, which means the same.
    """
    if _OLD in text:
        text = text.replace(_OLD, "\\u0023#[" if json else "#\u2060#[")
    return text if json else _NEW.sub("\\1:\u2060", text)


def command(name: str, message: str, **properties: str) -> str:
    """A workflow command with everything escaped that would end a part of it."""
    inside_ = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name} {inside_}::{_data(message)}" if inside_ else f"::{name}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _is_file(stream: TextIO) -> bool:
    """What goes into a file is data, and no runner reads it."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False
