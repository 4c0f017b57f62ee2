"""JSON Schemas made from the types: ``python -m tests.support.schemas`` writes ``schemas/v1``.

The types say the shape; the tables below add what a Python type cannot say (a
digest's alphabet, exactly one signature). Canonical documents are closed: a
member nobody described is an error. Printed documents may gain members in
version 1, so the published schema leaves them open to readers, while
:func:`check_document` closes them for us: what we print is what we described.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec

from manifestd import canonical
from manifestd.model import media_types
from manifestd.model.approvals import ApprovalRequest, ApprovalResult, ApprovalStatus
from manifestd.model.bundlefile import BundleIndex
from manifestd.model.carrier import Pushed
from manifestd.model.change import Diff
from manifestd.model.discovery import Discovery
from manifestd.model.entry import Observation
from manifestd.model.envelope import Bundle
from manifestd.model.explanation import Explanation
from manifestd.model.failure import Failure
from manifestd.model.files import FileList
from manifestd.model.finding import LintReport, PolicyReport, PolicyVerdict
from manifestd.model.gate import GateReport
from manifestd.model.history import (
    AsOf,
    Ledger,
    LogList,
    LogVerification,
    Pruned,
    TagHistory,
    TagList,
    TagResult,
)
from manifestd.model.importing import ImportResult
from manifestd.model.lockfile import LockCheck, LockFile
from manifestd.model.logentry import LogEntry
from manifestd.model.manifest import Manifest
from manifestd.model.notification import Notification
from manifestd.model.oms import OmsResult
from manifestd.model.plugin_list import PluginList
from manifestd.model.receipt import ReceiptCheck
from manifestd.model.run import Run, RunPlan, Status
from manifestd.model.snapshot import Snapshot, SnapshotResult
from manifestd.model.snapshot_results import SnapshotResults
from manifestd.model.statement import Statement
from manifestd.model.verification import AgainstReport, Pulled, VerifyReport

FOLDER: Final = Path(__file__).parents[2] / "schemas" / "v1"
BASE: Final = "https://manifestd.dev/schemas/v1/"

SCHEMAS: Final[dict[str, type]] = {
    "manifest": Manifest,
    "snapshot": Snapshot,
    "observation": Observation,
    "statement": Statement,
    "bundle": Bundle,
    "bundle-index": BundleIndex,
    "snapshot-result": SnapshotResult,
    "snapshot-results": SnapshotResults,
    "diff": Diff,
    "files": FileList,
    "verify": VerifyReport,
    "against": AgainstReport,
    "log-entry": LogEntry,
    "log": LogList,
    "log-as-of": AsOf,
    "log-verify": LogVerification,
    "tags": TagList,
    "tag-history": TagHistory,
    "tag-result": TagResult,
    "history": Ledger,
    "approval-request": ApprovalRequest,
    "approval-status": ApprovalStatus,
    "approval-result": ApprovalResult,
    "gate": GateReport,
    "receipt-check": ReceiptCheck,
    "lock": LockFile,
    "lock-check": LockCheck,
    "store-prune": Pruned,
    "run": Run,
    "notification": Notification,
    "plugins": PluginList,
    "run-plan": RunPlan,
    "status": Status,
    "explanation": Explanation,
    "policy": PolicyVerdict,
    "policy-report": PolicyReport,
    "lint": LintReport,
    "discovery": Discovery,
    "import": ImportResult,
    "oms": OmsResult,
    "push": Pushed,
    "pull": Pulled,
    "error": Failure,
}
"""Name of the schema -> type. One line here is all a new document needs."""

CANONICAL: Final = {"manifest", "snapshot", "observation", "statement", "bundle", "log-entry"}
"""Documents whose bytes are signed or addressed: closed also for readers."""

# `$` of Python's re also matches before a last newline, that of ECMA-262 does not.
DIGEST: Final = {"type": "string", "pattern": r"^sha256:[0-9a-f]{64}$(?!\n)"}
TIME: Final = {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$(?!\n)",
}
BASE64: Final = {"type": "string", "pattern": "^[A-Za-z0-9+/]+={0,2}$"}
PATH: Final = {"type": "string", "minLength": 1}
WORD: Final = {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"}
GRADES: Final = {"enum": ["measured", "reused", "stored", "declared", "none"]}
DIGESTS: Final = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
    "properties": {
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "sha1-git": {"type": "string", "pattern": "^[0-9a-f]{40}$"},
        "md5": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
    "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]+$"},
}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


TIGHTER: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "Manifest": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": media_types.OCI_MANIFEST},
        "artifactType": {"const": media_types.ARTIFACT},
        "config": {
            "const": {
                "mediaType": media_types.OCI_EMPTY,
                "digest": media_types.OCI_EMPTY_DIGEST,
                "size": 2,
            }
        },
        "layers": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Descriptor"}},
    },
    "Descriptor": {
        "digest": DIGEST,
        "mediaType": {"const": media_types.OCTETS},
        "annotations": {
            "type": "object",
            "properties": {media_types.OCI_TITLE: PATH},
            "required": [media_types.OCI_TITLE],
            "additionalProperties": False,
        },
    },
    "Snapshot": {"source": {"type": "string", "pattern": "^[a-z0-9-]+:"}},
    "Observation": {
        "digests": {**DIGESTS, "not": {"required": ["sha256"]}},
        "declared": DIGESTS,
        "facts": DIGEST,
        "chunks": DIGEST,
        "reusedFrom": DIGEST,
    },
    "Problem": {"code": WORD, "what": {"type": "string", "minLength": 1}},
    "SnapshotResult": {"snapshot": DIGEST, "manifest": _or_null(DIGEST), "capturedAt": TIME},
    "VerifyResult": {
        "exitCode": {"enum": [0, 3, 4]},
        "snapshot": _or_null(DIGEST),
        "manifest": _or_null(DIGEST),
        "capturedAt": _or_null(TIME),
    },
    "AgainstReport": {"exitCode": {"enum": [0, 1, 3, 4]}, "readAt": _or_null(TIME)},
    "Flaw": {"code": WORD, "what": {"type": "string", "minLength": 1}},
    "ListedFile": {"path": PATH, "digests": DIGESTS},
    "Side": {"snapshot": DIGEST, "manifest": _or_null(DIGEST), "capturedAt": TIME},
    "FileDiff": {"path": PATH, "movedFrom": PATH, "rightPath": PATH},
    "FileSide": {"digests": DIGESTS},
    "RunSide": {
        "snapshot": _or_null(DIGEST),
        "policy": _or_null(DIGEST),
        "manifest": _or_null(DIGEST),
        "capturedAt": _or_null(TIME),
    },
    "StatusModel": {
        "at": TIME,
        "lastPass": _or_null(TIME),
        "sides": {"type": "object", "additionalProperties": _or_null(DIGEST)},
    },
    "RunModel": {"attestations": {"type": "array", "items": DIGEST}},
    "RunFinding": {"policy": DIGEST, "what": {"type": "string", "minLength": 1}},
    "WeightsDiff": {"left": _or_null(DIGEST), "right": _or_null(DIGEST)},
    "Failure": {
        "code": WORD,
        "what": {"type": "string", "minLength": 1},
        "exitCode": {"enum": [1, 2, 3, 4, 70, 130]},
    },
    "Bundle": {"mediaType": {"const": media_types.SIGSTORE_BUNDLE}},
    "VerificationMaterial": {"tlogEntries": {"type": "array", "maxItems": 0}},
    "PublicKeyHint": {"hint": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    "DsseEnvelope": {
        "payload": BASE64,
        "payloadType": {"const": media_types.IN_TOTO},
        "signatures": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {"$ref": "#/$defs/Signature"},
        },
    },
    "Signature": {"keyid": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "sig": BASE64},
    "Statement": {
        "_type": {"const": media_types.STATEMENT},
        "subject": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Subject"}},
        "predicateType": {"type": "string", "format": "uri"},
    },
    "Subject": {
        "digest": {
            "type": "object",
            "properties": {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
            "required": ["sha256"],
            "additionalProperties": False,
        }
    },
}
"""Type -> property -> schema that replaces the generated one."""

PREDICATE_OF_SNAPSHOT: Final = (
    "source", "requested", "revision", "capturedAt", "complete", "files", "bytes", "tool",
)  # fmt: skip
"""Members of the snapshot predicate; each means what it means in the record."""


def schema_of(name: str, *, closed: bool = False) -> dict[str, Any]:
    """The schema called ``name``; ``closed`` refuses members nobody described."""
    return _built(SCHEMAS[name], name, closed=closed or name in CANONICAL)


def check_document(name: str, document: bytes | str | Any) -> None:
    """Check one document, as bytes, text or plain values, against the closed schema.

    Raises:
        AssertionError: It does not fit; the message says where and why, every fault.
    """
    if isinstance(document, bytes | str):
        document = json.loads(document)
    validator = jsonschema.Draft202012Validator(schema_of(name, closed=True))
    faults = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    assert not faults, f"not a {name} document:\n" + "\n".join(faults)


def text_of(name: str) -> str:
    """What the checked-in file holds."""
    return json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"


def _built(kind: type, name: str, *, closed: bool) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    structs = _structs(kind)
    definitions = {
        title: _definition(structs[title], schema, closed=closed)
        for title, schema in sorted(components.items())
    }
    if kind is Statement:
        _add_snapshot_predicate(definitions, closed=closed)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{BASE}{name}.schema.json",
        "$ref": f"#/$defs/{kind.__name__}",
        "$defs": definitions,
    }


def _definition(kind: type, generated: dict[str, Any], *, closed: bool) -> dict[str, Any]:
    config: Any = getattr(kind, "__struct_config__")  # noqa: B009  (mypy knows no such member)
    summary, described = _documentation(generated.get("description", ""))
    properties: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        encoded = field.encode_name
        schema = generated["properties"][encoded]
        schema = copy.deepcopy(TIGHTER.get(kind.__name__, {}).get(encoded, schema))
        schema = _sharpened(schema)
        if schema.get("type") == "integer":
            schema.setdefault("minimum", 0)
            schema.setdefault("maximum", canonical.MAX_INTEGER)
        if field.name in described:
            schema = {"description": described[field.name], **schema}
        properties[encoded] = schema
    # With omit_defaults a member is always written that has no default, or one from a factory
    # (other than of an empty collection); without it every member is. Those are required.
    left_out = (msgspec.NODEFAULT, list, dict, set)
    always = [
        field.encode_name
        for field in msgspec.structs.fields(kind)
        if not config.omit_defaults or field.required or field.default_factory not in left_out
    ]
    if kind.__name__ == "Descriptor":
        always = ["mediaType", "digest", "size", "annotations"]
    result: dict[str, Any] = {"description": summary, "type": "object", "properties": properties}
    result["required"] = sorted(always)
    if closed:
        result["additionalProperties"] = False
    return result


def _sharpened(schema: dict[str, Any]) -> dict[str, Any]:
    """Without defaults (every member is written) and with our digest and time patterns."""
    schema.pop("default", None)
    if "sha256:" in schema.get("pattern", ""):
        schema["pattern"] = DIGEST["pattern"]
    elif "Z$" in schema.get("pattern", ""):
        schema["pattern"] = TIME["pattern"]
    if "anyOf" in schema:
        schema["anyOf"] = [_sharpened(item) for item in schema["anyOf"]]
    return schema


def _add_snapshot_predicate(definitions: dict[str, Any], *, closed: bool) -> None:
    record = schema_of("snapshot")["$defs"]["Snapshot"]["properties"]
    definitions["SnapshotPredicate"] = {
        "description": "What a snapshot statement claims of its subjects; the record says the rest.",
        "type": "object",
        "properties": {member: record[member] for member in PREDICATE_OF_SNAPSHOT},
        "required": sorted(PREDICATE_OF_SNAPSHOT),
        **({"additionalProperties": False} if closed else {}),
    }
    statement = definitions["Statement"]
    statement["if"] = {"properties": {"predicateType": {"const": media_types.SNAPSHOT_PREDICATE}}}
    statement["then"] = {"properties": {"predicate": {"$ref": "#/$defs/SnapshotPredicate"}}}


def _documentation(docstring: str) -> tuple[str, dict[str, str]]:
    """Summary line, and the sentences of the ``Attributes`` section by attribute."""
    head, _, attributes = docstring.partition("Attributes:\n")
    summary = " ".join(head.split("\n\n")[0].split())
    described: dict[str, str] = {}
    name = ""
    for line in attributes.split("\n"):
        if found := re.match(r" {8}(\w+): (.*)", line):
            name, text = found.groups()
            described[name] = text
        elif name and line.startswith(" " * 12):
            described[name] += " " + line.strip()
        else:
            name = ""
    return summary, described


def _structs(kind: type) -> dict[str, type]:
    """Every struct type that ``kind`` is made of, by name."""
    found: dict[str, type] = {}
    waiting: list[Any] = [msgspec.inspect.type_info(kind)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, msgspec.inspect.StructType):
            if item.cls.__name__ not in found:
                found[item.cls.__name__] = item.cls
                waiting.extend(field.type for field in item.fields)
        elif isinstance(item, msgspec.inspect.UnionType):
            waiting.extend(item.types)
        elif isinstance(item, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            waiting.append(item.item_type)
        elif isinstance(item, msgspec.inspect.DictType):
            waiting.append(item.value_type)
        elif isinstance(item, msgspec.inspect.Metadata):
            waiting.append(item.type)
    return found


def main() -> None:
    """Write every schema, and remove those no type stands behind."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = {f"{name}.schema.json": text_of(name) for name in SCHEMAS}
    for path in FOLDER.glob("*.schema.json"):
        if path.name not in wanted:
            path.unlink()
    for file_name, text in wanted.items():
        (FOLDER / file_name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
