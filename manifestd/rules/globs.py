"""Glob patterns over repository paths: the ones of ``--ignore`` and of the policy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache


def matches(path: str, pattern: str) -> bool:
    """Whether a path matches a glob, case and normal form respected.

    ``*`` also crosses ``/``. A pattern without a slash is held against the last
    part of the path as well, so ``.gitattributes`` names that file anywhere.

    Example:
        >>> matches("onnx/model.onnx", "*.onnx"), matches("a/b.txt", "a/*"), matches("a.txt", "b*")
        (True, True, False)
    """
    compiled = _compiled(pattern)
    if compiled.match(path):
        return True
    return "/" not in pattern and compiled.match(path.rpartition("/")[2]) is not None


def matches_any(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path matches one of the patterns."""
    return any(matches(path, pattern) for pattern in patterns)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
