"""OpenSSF model signatures (OMS v1.0) without I/O: what they claim, and how that meets stored digests.

The format is specified in ossf/model-signing-spec v1.0; deviations of its
implementations that a reader meets are noted where they matter. The root digest
does not cover names (section 6.5.1), so it is checked, never used as an identity.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, UsageError
from manifestd.model import media_types
from manifestd.model.digest import check_value
from manifestd.model.oms import Answer, Outcome

PREDICATE: Final = "https://model_signing/signature/v1.0"
OLD_PREDICATE: Final = "https://model_signing/Digests/v0.1"
ALWAYS_IGNORED: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""Left out by default, in the model's root only (section 6.2.1)."""

_SHARD = re.compile(r"(?s)(.*):(\d{1,18}):(\d{1,18})\Z")


class Resource(msgspec.Struct, frozen=True):
    """One signed entry: a file or, with ``shards``, a range of one.

    Attributes:
        path: The file.
        digest: Lower-case hex under the claim's hash type.
        begin: First byte of a shard; None: a whole file.
        end: End of a shard, exclusive.
    """

    path: str
    digest: str
    begin: int | None = None
    end: int | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What the signed payload says.

    Attributes:
        model: The name the signer gave the model.
        method: ``files`` or ``shards``.
        hash_type: ``sha256``, ``blake2b``, ``blake3``.
        ignored: Paths the signer left out; anything there may change unnoticed.
        resources: Signed entries, in the payload's order.
    """

    model: str
    method: str
    hash_type: str
    ignored: tuple[str, ...]
    resources: tuple[Resource, ...]


def statement(model: str, files: Mapping[str, str], ignored: Iterable[str]) -> bytes:
    """The payload that signs files (path -> sha256 hex), from digests alone.

    Paths come in code point order, which the Go implementation demands and the
    Python one accepts (specs: OMS section 5.2.1).

    Raises:
        UsageError: A path that OMS cannot carry, or no file left.
    """
    ignore = sorted({*ALWAYS_IGNORED, *ignored})
    signed = sorted(path for path in files if not _below_any(path, ignore))
    if not signed:
        raise UsageError("no file is left to sign once the ignored ones are out")
    for path in signed:
        if not _carriable(path):
            raise UsageError(f"an OMS signature cannot carry the path {path!r}")
    root = hashlib.sha256(b"".join(bytes.fromhex(files[path]) for path in signed))
    return canonical.encode({
        "_type": media_types.STATEMENT,
        "subject": [{"name": model, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": ignore,
            },
            "resources": [
                {"name": path, "algorithm": "sha256", "digest": files[path]} for path in signed
            ],
        },
    })  # fmt: skip


def read_claim(payload: bytes) -> Claim:
    """Read a verified payload strictly: known type, right root, no name twice.

    Raises:
        MalformedError: Not an OMS v1.0 statement; the message says in what.
    """
    document = canonical.decode_foreign(payload, name="model signature", max_size=1 << 28)
    try:
        kind, predicate = document["predicateType"], document.get("predicate")
        if kind == OLD_PREDICATE:
            raise old_version()
        if document["_type"] != media_types.STATEMENT or kind != PREDICATE:
            raise MalformedError(f"not a model signature: predicate type {str(kind)[:100]!r}")
        (subject,) = document["subject"]
        serialization = predicate["serialization"]
        method, hash_type = _text(serialization["method"]), _text(serialization["hash_type"])
        claim = Claim(
            model=_text(subject["name"]),
            method=method,
            hash_type=hash_type,
            # Releases before 1.1 write no ignore_paths.
            ignored=_ignored(serialization.get("ignore_paths", [])),
            resources=tuple(_resource(item, method, hash_type) for item in predicate["resources"]),
        )
        root = _text(subject["digest"]["sha256"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError(
            "not a model signature: a field is missing or of another kind"
        ) from error
    _check(claim, root.lower())
    return claim


def old_version() -> MalformedError:
    """Why a signature of version 0.2 is not read."""
    return MalformedError(
        "the model signature is of version 0.2, which signed something else than it says",
        why="its signature input is not DSSE's (capital V, a Python repr as body)",
        hint="ask the publisher to sign again with model_signing 1.0 or later",
    )


def _check(claim: Claim, root: str) -> None:
    """Root over the raw digests in array order, whatever the hash type (section 6.5.1)."""
    if not claim.resources:
        raise MalformedError("the model signature signs no file")
    raw = b"".join(bytes.fromhex(resource.digest) for resource in claim.resources)
    if hashlib.sha256(raw).hexdigest() != root:
        raise MalformedError("the model signature's root digest is not that of its resources")
    names: set[tuple[str, int | None, int | None]] = set()
    for resource in claim.resources:
        name = (resource.path, resource.begin, resource.end)
        if name in names:
            # The reference verifier takes the last of two; what was signed is then unclear.
            raise MalformedError(f"the model signature names {resource.path[:200]!r} twice")
        names.add(name)


def whole_file_claims(claim: Claim) -> Iterator[tuple[str, int | None, str | None]]:
    """Path, size and digest of each signed file, as far as the claim says them of whole files.

    Only shards say sizes; a file in several shards has no digest of its own.
    """
    if claim.method == "files":
        yield from ((each.path, None, each.digest) for each in claim.resources)
        return
    shards: dict[str, list[Resource]] = {}
    for each in claim.resources:
        shards.setdefault(each.path, []).append(each)
    for path, parts in shards.items():
        size = max(part.end or 0 for part in parts)
        alone = len(parts) == 1 and parts[0].begin == 0
        yield path, size, parts[0].digest if alone else None


def judge(
    claim: Claim,
    files: Mapping[str, tuple[int, str | None]],
    own_path: str | None,
    left_out: Callable[[str], str | None] = lambda _: None,
) -> Outcome:
    """Hold a claim against files (path -> size, sha256 hex or None), model bytes absent.

    What the claim lists is checked also where it would be ignored by default.

    Args:
        claim: The verified claim.
        files: The snapshot's files.
        own_path: Where the signature itself lies among them; it never covers itself.
        left_out: Says why a path may be missing among ``files`` although it is in the model.
    """
    signed = {path: (size, digest) for path, size, digest in whole_file_claims(claim)}
    ignored = [*ALWAYS_IGNORED, *claim.ignored, *([own_path] if own_path else [])]
    free = {path for path in files if path not in signed and _below_any(path, ignored)}
    rest = {path: known for path, known in files.items() if path not in free}
    if signed.keys() == {"."} and len(rest) == 1:
        # A model of one file is signed under this name.
        signed = {next(iter(rest)): signed["."]}
    why = _unsupported(claim)
    if why is not None:
        return Outcome(answer="cannot check", why=why, not_covered=sorted(free))
    unknown: dict[str, str] = {}
    changed, missing, agreed = [], [], 0
    for path, (size, digest) in signed.items():
        if path not in rest:
            reason = left_out(path)
            if reason is None:
                missing.append(path)
            else:
                unknown[path] = reason
            continue
        found = rest[path]
        if size is not None and size != found[0]:
            changed.append(path)
        elif digest is None:
            unknown[path] = "signed in several shards, whose digests the store does not have"
        elif found[1] is None:
            unknown[path] = "its sha256 is not known"
        elif found[1] != digest:
            changed.append(path)
        else:
            agreed += 1
    extra = []
    for path in rest.keys() - signed.keys():
        if claim.method == "shards" and rest[path][0] == 0:
            # The reference implementation gives empty files no shard at all.
            unknown[path] = "empty files are not covered by a signature of shards"
        else:
            extra.append(path)
    reasons = sorted(f"{path}: {reason}" for path, reason in unknown.items())
    answer, why = _answer(changed, missing, extra, reasons)
    return Outcome(
        answer=answer, why=why, files=agreed, changed=sorted(changed), missing=sorted(missing),
        extra=sorted(extra), not_covered=sorted(free), unknown=reasons,
    )  # fmt: skip


def _answer(
    changed: list[str], missing: list[str], extra: list[str], unknown: list[str]
) -> tuple[Answer, str | None]:
    parts = [
        f"{len(items)} {word}"
        for items, word in ((changed, "changed"), (missing, "missing"), (extra, "not signed"))
        if items
    ]
    if parts:
        return "mismatch", ", ".join(parts)
    if unknown:
        are = "file cannot" if len(unknown) == 1 else "files cannot"
        return "cannot check", f"{len(unknown)} {are} be decided from stored digests"
    return "verified", None


def _unsupported(claim: Claim) -> str | None:
    if claim.method not in {"files", "shards"}:
        return f"its method is {claim.method[:40]!r}, known are files and shards"
    if claim.hash_type != "sha256":
        return f"it signs {claim.hash_type[:40]} digests, the store has sha256"
    return None


def normal_name(name: str) -> str:
    """A resource name as PurePosixPath would spell it; ``.`` for a model of one file.

    Raises:
        MalformedError: Absolute, empty, or with ``..``: it would lead out of the model.
    """
    if not name or name.startswith("/") or "\0" in name:
        raise MalformedError(f"not a path inside a model: {name[:100]!r}")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise MalformedError(f"a path that leads out of the model: {name[:100]!r}")
    return "/".join(parts) or "."


def _carriable(path: str) -> bool:
    try:
        return normal_name(path) == path
    except MalformedError:
        return False


def _below_any(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def _resource(item: dict[str, Any], method: str, hash_type: str) -> Resource:
    algorithm, digest = _text(item["algorithm"]), _text(item["digest"]).lower()
    if algorithm != hash_type and not algorithm.startswith(f"{hash_type}-sharded-"):
        raise MalformedError(
            f"the model signature has a {algorithm[:40]} digest among those of {hash_type[:40]}"
        )
    check_value(hash_type, digest)
    name = _text(item["name"])
    if method != "shards":
        return Resource(normal_name(name), digest)
    # A colon may be part of the name: the last two fields are the range.
    found = _SHARD.match(name)
    if found is None:
        raise MalformedError(f"a shard's name has no range: {name[:100]!r}")
    return Resource(normal_name(found[1]), digest, int(found[2]), int(found[3]))


def _ignored(paths: Any) -> tuple[str, ...]:
    if not isinstance(paths, list):
        raise TypeError("not a list")
    return tuple(normal_name(_text(path)) for path in paths)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
