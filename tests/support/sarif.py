"""What SARIF 2.1.0 (OASIS, errata 01) demands of the logs that are written here.

The shape has every property that is written and allows no other, so that each new one is held
against its section of the standard here first.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

import jsonschema

_FORMATS: Final = jsonschema.FormatChecker()
_CHARACTERS: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?#\[\]-]|%[0-9A-Fa-f]{2})*\Z")
_UTC: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z\Z")
_DIGEST: Final = r"\A[0-9a-f]{64}\Z"


@_FORMATS.checks("uri-reference")
def _is_uri_reference(text: object) -> bool:
    """RFC 3986, 4.1; before the first slash of a relative one there is no colon (4.2)."""
    if not isinstance(text, str) or not _CHARACTERS.match(text) or text.count("#") > 1:
        return False
    first = re.split(r"[/?#]", text, maxsplit=1)[0]
    return ":" not in first or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", first) is not None


@_FORMATS.checks("date-time")
def _is_utc(text: object) -> bool:
    """3.9: in UTC, and said so."""
    return isinstance(text, str) and _UTC.match(text) is not None


def _object(required: str, **properties: Any) -> dict[str, Any]:
    """An object with these properties, and no other."""
    return {
        "type": "object", "required": required.split(), "properties": properties,
        "additionalProperties": False,
    }  # fmt: skip


def _array(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


_STRING: Final = {"type": "string", "minLength": 1}
_BAG: Final = {"type": "object"}
"""3.8: a property bag holds what its writer likes."""

_MESSAGE: Final = _object("text", text=_STRING)
"""3.11.8, 3.12.3: without an id there is a text."""

_RULE: Final = _object(
    "id shortDescription fullDescription help",  # all of them: GitHub demands it
    id=_STRING,
    shortDescription=_MESSAGE,
    fullDescription=_MESSAGE,
    help=_MESSAGE,
)

_PLACE: Final = _object(
    "physicalLocation",
    physicalLocation=_object(
        "artifactLocation",
        artifactLocation=_object("uri", uri={**_STRING, "format": "uri-reference"}),
    ),
)

_RESULT: Final = _object(
    "ruleId ruleIndex level message locations partialFingerprints",
    ruleId=_STRING,
    ruleIndex={"type": "integer", "minimum": 0},
    level={"enum": ["none", "note", "warning", "error"]},
    message=_MESSAGE,
    # 3.27.12 allows none; GitHub refuses the whole log then.
    locations=_array(_PLACE, minItems=1),
    partialFingerprints={
        "type": "object", "minProperties": 1,
        "additionalProperties": {"type": "string", "pattern": _DIGEST},
    },
    suppressions=_array(
        _object(
            "kind",
            kind={"enum": ["inSource", "external"]},
            status={"enum": ["accepted", "underReview", "rejected"]},
        ),
        uniqueItems=True,
    ),
    properties=_BAG,
)  # fmt: skip

_INVOCATION: Final = _object(
    "executionSuccessful",
    executionSuccessful={"type": "boolean"},
    startTimeUtc={"type": "string", "format": "date-time"},
    endTimeUtc={"type": "string", "format": "date-time"},
    exitCode={"type": "integer"},
)

_RUN: Final = _object(
    "tool results",
    tool=_object(
        "driver",
        driver=_object(
            "name version rules", name=_STRING, version=_STRING,
            rules=_array(_RULE, uniqueItems=True),
        ),
    ),
    automationDetails=_object("id", id=_STRING),
    invocations=_array(_INVOCATION),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results=_array(_RESULT),
    properties=_BAG,
)  # fmt: skip

SHAPE: Final = _object(
    "$schema version runs",
    **{"$schema": {"type": "string", "format": "uri-reference"}, "version": {"const": "2.1.0"}},
    runs=_array(_RUN, minItems=1),
)


def check_sarif(text: str) -> Any:
    """Hold a log against the standard, and against the whole schema where ``SARIF_SCHEMA`` names it.

    Returns:
        The log, decoded.

    Raises:
        jsonschema.ValidationError: It has another shape.
        AssertionError: Its parts do not fit together.
    """
    log = json.loads(text)
    jsonschema.Draft7Validator(SHAPE, format_checker=_FORMATS).validate(log)
    if whole := os.environ.get("SARIF_SCHEMA"):
        schema = json.loads(Path(whole).read_text(encoding="utf-8"))
        validator = jsonschema.validators.validator_for(schema)
        validator(schema, format_checker=_FORMATS).validate(log)
    for run in log["runs"]:
        ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        assert len(set(ids)) == len(ids)  # 3.19.23
        assert all(ids[found["ruleIndex"]] == found["ruleId"] for found in run["results"])  # 3.27.6
    return log
