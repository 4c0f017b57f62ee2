"""Documents that every reader must refuse, each wrong in one way only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import rfc8785

LAYER = (
    b'{"annotations":{"org.opencontainers.image.title":"%b"},"digest":"sha256:%b",'
    b'"mediaType":"application/octet-stream","size":%b}'
)
HEX = hashlib.sha256(b"").hexdigest().encode()
HEAD = (
    b'{"artifactType":"application/vnd.manifestd.manifest.v1","config":{"digest":"sha256:'
    b'44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":'
    b'"application/vnd.oci.empty.v1+json","size":2},"layers":['
)
TAIL = b'],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'

MALFORMED = "malformed"
NOT_CANONICAL = "not-canonical"


def layer(path: bytes = b"a", *, hexed: bytes = HEX, size: bytes = b"0") -> bytes:
    """One file entry, spelled as given."""
    return LAYER % (path, hexed, size)


def manifest(*layers: bytes) -> bytes:
    """A manifest of these layers, canonical when they are."""
    return HEAD + b",".join(layers or (layer(),)) + TAIL


def invalid_documents(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each document's row of the index, with its bytes under ``data``.

    ``seenBy`` says who can refuse it: ``bytes`` (the spelling is wrong), ``order``
    (a rule across members), ``shape`` (a JSON Schema sees it too).
    """
    groups = (
        ("manifest", "bytes", _spellings()),
        ("manifest", "order", _orders()),
        ("manifest", "shape", _manifests()),
        ("snapshot", "shape", _records(record)),
    )
    for kind, seen_by, documents in groups:
        for name, error, shows, data in documents:
            yield {
                "name": f"{kind}-{name}",
                "shows": shows,
                "kind": kind,
                "error": error,
                "seenBy": "bytes" if error == NOT_CANONICAL else seen_by,
                "data": data,
            }


def _spellings() -> Iterator[tuple[str, str, str, bytes]]:
    """One manifest spelled in ways that are not canonical, or not JSON."""
    good = manifest()
    schema = b'"schemaVersion":2'
    yield (
        "duplicate-name",
        NOT_CANONICAL,
        "a name twice, the same value",
        good.replace(schema, schema + b"," + schema),
    )
    yield (
        "duplicate-name-first-wins",
        NOT_CANONICAL,
        "a name twice, the good value first",
        (good.replace(schema, schema + b',"schemaVersion":3')),
    )
    yield (
        "duplicate-name-last-wins",
        NOT_CANONICAL,
        "a name twice, the good value last",
        (good.replace(schema, b'"schemaVersion":3,' + schema)),
    )
    yield (
        "duplicate-path-in-annotations",
        NOT_CANONICAL,
        "a title twice",
        good.replace(
            b'"org.opencontainers.image.title":"a"',
            b'"org.opencontainers.image.title":"b","org.opencontainers.image.title":"a"',
        ),
    )
    yield (
        "space-after-colon",
        NOT_CANONICAL,
        "white space",
        good.replace(schema, b'"schemaVersion": 2'),
    )
    yield "trailing-newline", NOT_CANONICAL, "a newline after the document", good + b"\n"
    yield "leading-space", NOT_CANONICAL, "a space before the document", b" " + good
    yield "byte-order-mark", MALFORMED, "a byte order mark", b"\xef\xbb\xbf" + good
    yield (
        "names-out-of-order",
        NOT_CANONICAL,
        "schemaVersion first",
        (b"{" + schema + b"," + good[1:].replace(b"," + schema, b"")),
    )
    yield "two-documents", MALFORMED, "one document after another", good + good
    yield "cut-short", MALFORMED, "the last byte is missing", good[:-1]
    yield "nothing", MALFORMED, "no bytes at all", b""
    yield "escaped-solidus", NOT_CANONICAL, "\\/ for /", manifest(layer(b"a\\/b"))
    yield "escaped-letter", NOT_CANONICAL, "\\u0061 for a", manifest(layer(b"\\u0061"))
    yield (
        "escaped-beyond-ascii",
        NOT_CANONICAL,
        "\\u00e9 for its UTF-8",
        manifest(layer(b"\\u00e9")),
    )
    yield (
        "escaped-surrogate-pair",
        NOT_CANONICAL,
        "an escaped pair for its UTF-8",
        manifest(layer(b"\\ud83d\\ude00")),
    )
    yield "upper-case-escape", NOT_CANONICAL, "\\u001F for \\u001f", manifest(layer(b"\\u001F"))
    yield "long-escape", NOT_CANONICAL, "\\u000a for \\n", manifest(layer(b"\\u000a"))
    yield (
        "raw-control-character",
        MALFORMED,
        "a control character not escaped",
        manifest(layer(b"\x01")),
    )
    yield "lone-high-surrogate", MALFORMED, "\\ud83d alone", manifest(layer(b"\\ud83d"))
    yield "lone-low-surrogate", MALFORMED, "\\ude00 alone", manifest(layer(b"\\ude00"))
    yield "surrogate-in-utf-8", MALFORMED, "ED A0 80", manifest(layer(b"\xed\xa0\x80"))
    yield "overlong-utf-8", MALFORMED, "C0 80 for NUL", manifest(layer(b"\xc0\x80"))
    yield "latin-1", MALFORMED, "E9 alone", manifest(layer(b"caf\xe9"))
    yield "float-size", NOT_CANONICAL, "0.0 for 0", manifest(layer(size=b"0.0"))
    yield "exponent-size", NOT_CANONICAL, "1e2 for 100", manifest(layer(size=b"1e2"))
    yield "negative-zero", NOT_CANONICAL, "-0 for 0", manifest(layer(size=b"-0"))
    yield "leading-zero", MALFORMED, "00 for 0", manifest(layer(size=b"00"))
    yield (
        "size-two-to-the-53",
        NOT_CANONICAL,
        "an integer no double holds apart from the next",
        (manifest(layer(size=b"9007199254740992"))),
    )
    yield "size-not-a-number", MALFORMED, "NaN", manifest(layer(size=b"NaN"))
    yield (
        "name-beyond-ascii",
        NOT_CANONICAL,
        "a member whose name is not ASCII",
        good.replace(b'"schemaVersion":2', '"schemaVersion":2,"é":1'.encode()),
    )
    yield "nested-65-deep", MALFORMED, "deeper than 64 levels", b"[" * 65 + b"]" * 65
    yield "nested-20000-deep", MALFORMED, "deep enough to end a recursive parser", b"[" * 20_000


def _orders() -> Iterator[tuple[str, str, str, bytes]]:
    """Canonical JSON of the right shape whose layers are not in the one order."""
    yield "layers-out-of-order", MALFORMED, "b before a", manifest(layer(b"b"), layer(b"a"))
    yield (
        "layers-in-order-of-parts",
        MALFORMED,
        "a/x before a-b",
        manifest(layer(b"a/x"), layer(b"a-b")),
    )
    yield (
        "layers-in-utf-16-order",
        MALFORMED,
        "U+1F600 before U+FF5E",
        manifest(layer("\U0001f600".encode()), layer("\uff5e".encode())),
    )
    yield "path-twice", MALFORMED, "one path in two layers", manifest(layer(), layer())


def _manifests() -> Iterator[tuple[str, str, str, bytes]]:
    """Canonical JSON that is not a manifest of ours."""
    good = manifest()
    yield "not-an-object", MALFORMED, "an array", b"[]"
    yield "no-layers", MALFORMED, "a manifest lists at least one file", HEAD + TAIL
    yield "empty-path", MALFORMED, "a file has a name", manifest(layer(b""))
    yield (
        "upper-case-digest",
        MALFORMED,
        "hex digits are lower case",
        manifest(layer(hexed=HEX.upper())),
    )
    yield "short-digest", MALFORMED, "63 digits", manifest(layer(hexed=HEX[:-1]))
    yield (
        "digest-and-newline",
        MALFORMED,
        "a line feed after the digits",
        manifest(layer(hexed=HEX + b"\\n")),
    )
    yield (
        "sha512-digest",
        MALFORMED,
        "only sha256 is an identity",
        good.replace(b"sha256:" + HEX, b"sha512:" + HEX * 2),
    )
    yield "negative-size", MALFORMED, "-1", manifest(layer(size=b"-1"))
    yield "size-as-text", MALFORMED, 'size "0"', manifest(layer(size=b'"0"'))
    yield "unknown-member", MALFORMED, "a member version 1 does not know", good[:-1] + b',"x":1}'
    yield (
        "unknown-member-in-a-layer",
        MALFORMED,
        "urls in a layer",
        manifest(layer()[:-1] + b',"urls":[]}'),
    )
    yield (
        "second-annotation",
        MALFORMED,
        "a layer says its path and nothing else",
        good.replace(b'title":"a"', b'title":"a","x":"y"'),
    )
    yield (
        "no-annotation",
        MALFORMED,
        "a layer without a path",
        good.replace(b'"annotations":{"org.opencontainers.image.title":"a"},', b""),
    )
    yield (
        "other-media-type",
        MALFORMED,
        "identity depends on no classification",
        good.replace(b"application/octet-stream", b"application/json"),
    )
    yield (
        "other-artifact-type",
        MALFORMED,
        "somebody else's artifact",
        good.replace(b"manifestd.manifest.v1", b"manifestd.manifest.v2"),
    )
    yield (
        "other-config",
        MALFORMED,
        "the config is the empty descriptor",
        good.replace(b'"size":2}', b'"size":3}'),
    )
    yield (
        "empty-annotations-in-config",
        MALFORMED,
        "the same tree, another digest",
        good.replace(b'"config":{', b'"config":{"annotations":{},'),
    )
    yield (
        "schema-version-1",
        MALFORMED,
        "OCI manifests have schemaVersion 2",
        good.replace(b'"schemaVersion":2', b'"schemaVersion":1'),
    )


def _records(good: dict[str, Any]) -> Iterator[tuple[str, str, str, bytes]]:
    """Canonical JSON that is not a snapshot record."""

    def changed(**members: Any) -> bytes:
        return rfc8785.dumps({**good, **members})

    def without(name: str) -> bytes:
        return rfc8785.dumps({key: value for key, value in good.items() if key != name})

    yield "newer-version", MALFORMED, "version 2", changed(schema="manifestd.snapshot/v2")
    yield "no-schema", MALFORMED, "a record that does not say what it is", without("schema")
    yield "unknown-member", MALFORMED, "a member version 1 does not know", changed(x=1)
    yield (
        "unknown-nested-member",
        MALFORMED,
        "the same inside the selection",
        changed(selection={"ignore": [], "read": "all", "x": 1}),
    )
    yield "missing-member", MALFORMED, "no manifest, not even null", without("manifest")
    yield "missing-empty-list", MALFORMED, "empty lists are written", without("problems")
    yield "null-for-text", MALFORMED, "name is text", changed(name=None)
    yield "number-for-boolean", MALFORMED, "1 is not true", changed(complete=1)
    yield "negative-count", MALFORMED, "-1 files", changed(files=-1)
    yield (
        "negative-evidence",
        MALFORMED,
        "-1 measured files",
        changed(evidence={**good["evidence"], "measured": -1}),
    )
    yield (
        "upper-case-digest",
        MALFORMED,
        "hex digits are lower case",
        changed(manifest=good["manifest"].upper().replace("SHA256", "sha256")),
    )
    yield (
        "digest-and-newline",
        MALFORMED,
        "a line feed after the digits",
        changed(content=good["content"] + "\n"),
    )
    yield (
        "local-time",
        MALFORMED,
        "an offset for Z",
        changed(capturedAt="2026-01-02T03:04:05+00:00"),
    )
    yield (
        "time-and-newline",
        MALFORMED,
        "a line feed after Z",
        changed(capturedAt=good["capturedAt"] + "\n"),
    )
    yield (
        "digits-of-another-script",
        MALFORMED,
        "U+0662 for 2",
        changed(capturedAt=good["capturedAt"].replace("2", "\u0662", 1)),
    )
    yield (
        "unknown-read-mode",
        MALFORMED,
        "read is missing, all or none",
        changed(selection={"ignore": [], "read": "some"}),
    )
    yield (
        "unknown-severity",
        MALFORMED,
        "error, mismatch or note",
        changed(problems=[{"code": "x", "severity": "fatal", "what": "x"}]),
    )
    yield "trailing-newline", NOT_CANONICAL, "a newline after the document", changed() + b"\n"
