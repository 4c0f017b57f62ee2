"""The error document (contract, section 4, ``manifestd.error/v1``)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from manifestd.model import media_types


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An error as data: printed on stdout with ``--format json``."""

    schema: Literal["manifestd.error/v1"] = media_types.SCHEMA_ERROR
    code: str
    what: str
    why: str | None
    hint: str | None
    facts: dict[str, Any]
    exit_code: int
