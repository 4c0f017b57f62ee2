"""The error document (contract, section 4, ``manifestd.error/v1``)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from manifestd.errors import ManifestdError
from manifestd.model import media_types
from manifestd.redact import redact


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An error as data: printed on stdout with ``--format json``."""

    schema: Literal["manifestd.error/v1"] = media_types.SCHEMA_ERROR
    code: str
    what: str
    why: str | None
    hint: str | None
    facts: dict[str, Any]
    exit_code: int


def failure_of(error: ManifestdError) -> Failure:
    """The error as a document; texts are redacted once more, here."""
    return Failure(
        code=error.code,
        what=redact(error.what),
        why=redact(error.why) if error.why else None,
        hint=redact(error.hint) if error.hint else None,
        facts=msgspec.to_builtins(error.facts, str_keys=True),
        exit_code=error.exit_code,
    )
