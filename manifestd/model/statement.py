"""in-toto Statement v1 and the predicates we write (in-toto attestation spec/v1/statement.md)."""

from __future__ import annotations

from typing import Any

import msgspec

from manifestd.model import media_types


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement is about: a name for people, a digest set for machines."""

    name: str
    digest: dict[str, str]


class Statement(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"type": "_type", "predicate_type": "predicateType"},
):
    """A claim (the predicate) about subjects. Its canonical bytes are a DSSE payload."""

    type: str = media_types.STATEMENT
    subject: list[Subject]
    predicate_type: str
    predicate: dict[str, Any]
