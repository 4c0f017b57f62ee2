"""Every code of an error, a problem or a finding in a file that the source can give."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import manifestd

PACKAGE: Final = Path(manifestd.__file__).parent
_CODE: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ELSEWHERE: Final = frozenset({"add", "say", "_finding"})
"""Functions of other files whose first argument is a code, when others follow."""


def codes() -> dict[str, str]:
    """Code -> a file that gives it."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "loopback" not in path.parts:
            for code in _codes(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(code, path.relative_to(PACKAGE.parent).as_posix())
    return found


def _codes(tree: ast.Module) -> Iterator[str]:
    """What is given as ``code=``, as an argument called so, as ``"rule":``, or as a class's code."""
    names: dict[str, ast.expr] = {}
    places: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    names[target.id] = node.value
        elif isinstance(node, ast.FunctionDef):
            arguments = [each.arg for each in node.args.args if each.arg != "self"]
            if "code" in arguments:
                places[node.name] = arguments.index("code")
    if "code" in names:
        yield from _texts(names["code"], {})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for word in node.keywords:
                if word.arg == "code":
                    yield from _texts(word.value, names)
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            place = places.get(name, 0 if name in _ELSEWHERE else None)
            if place is not None and len(node.args) > max(place, 1):
                yield from _texts(node.args[place], names)
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.Assign | ast.AnnAssign):
                    targets = part.targets if isinstance(part, ast.Assign) else [part.target]
                    if any(getattr(target, "id", "") == "code" for target in targets):
                        yield from _texts(part.value, {})
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "rule":
                    yield from _texts(value, {})


def _texts(node: ast.expr | None, names: dict[str, ast.expr]) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from _texts(node.body, names)
        yield from _texts(node.orelse, names)
    elif isinstance(node, ast.Name):
        yield from _texts(names.get(node.id), {})
    elif (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _CODE.fullmatch(node.value)
    ):
        yield node.value
