"""docs/reference/settings.md and errors.md name everything that the code knows, and nothing else."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from manifestd.config import shape
from manifestd.signing.entry import TrustEntry
from tests.support.codes import PACKAGE, codes

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"
SETTINGS: Final = (REFERENCE / "settings.md").read_text(encoding="utf-8")
ERRORS: Final = (REFERENCE / "errors.md").read_text(encoding="utf-8")
SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "[store]": shape.StoreSection,
    "[signing]": shape.SigningSection,
    "[log]": shape.LogSection,
    "[[trust]]": TrustEntry,
    "[defaults]": shape.Defaults,
    "[[model]]": shape.Model,
    "[[select]]": shape.Select,
    "[[select]] hf": shape.HubSelect,
    "[policy]": shape.Policy,
    "[policy.severity]": shape.Severities,
    "[[policy.waiver]]": shape.Waiver,
    "[[tags]]": shape.TagRule,
    "[[tags]] approvals": shape.Quorum,
    "[[notify]]": shape.Notify,
}
ROW: Final = re.compile(r"^\| `(\w+)` \| (\S.*?) \| \S", re.MULTILINE)
VARIABLE: Final = re.compile(
    r"\b(?:MANIFESTD|HF|HUGGINGFACE|AWS|OTEL|GITHUB|DOCKER|SSL|XDG)_[A-Z0-9]+(?:_[A-Z0-9]+)*\b"
    r"|\bNO_COLOR\b|\bTRACEPARENT\b|\bTMPDIR\b"
)
NOT_VARIABLES: Final = {
    "MANIFESTD_GATE_OPEN", "MANIFESTD_RELEASE_APPROVED",  # levels in statements
}  # fmt: skip


def test_every_section_of_the_configuration_has_its_place() -> None:
    assert set(re.findall(r"^### `(.+)`$", SETTINGS, re.MULTILINE)) == set(SECTIONS)
    structs = {
        kind for kind in vars(shape).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        and kind.__module__ == shape.__name__
    }  # fmt: skip
    assert structs - {shape._Section, shape.Sections} <= set(SECTIONS.values())


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_stands_in_the_reference_with_its_default(section: str) -> None:
    text = SETTINGS.partition(f"### `{section}`\n")[2].partition("\n#")[0]
    assert dict(ROW.findall(text)) == {
        field.encode_name: _default(field) for field in msgspec.structs.fields(SECTIONS[section])
    }


def _default(field: msgspec.structs.FieldInfo) -> str:
    value: Any = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "*required*"
    if value is None:
        return "*unset*"
    if isinstance(value, msgspec.Struct):
        return "as below"
    text = msgspec.json.encode(value).decode().replace(",", ", ")
    assert tomllib.loads(f"x = {text}")["x"] == value
    return f"`{text}`"


def test_every_variable_of_the_environment_stands_in_the_reference() -> None:
    used = {name for text in _texts() for name in VARIABLE.findall(text)} - NOT_VARIABLES
    assert {"HF_TOKEN", "MANIFESTD_PLUGINS", "DOCKER_CONFIG", "NO_COLOR"} <= used
    assert not used - set(VARIABLE.findall(SETTINGS))


def _texts() -> Iterator[str]:
    """Every string of the source, docstrings left out."""
    for path in PACKAGE.rglob("*.py"):
        if "loopback" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {
            id(node.value) for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield "" if id(node) in prose else node.value


def test_every_code_of_the_source_stands_in_the_reference_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", ERRORS, re.MULTILINE)
    assert len(rows) == len(set(rows))
    found = codes()
    assert {"head-denied", "not-locked", "no-sha256", "shard-missing", "gated"} <= set(found)
    assert set(rows) == set(found)
