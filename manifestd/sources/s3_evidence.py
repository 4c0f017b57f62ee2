"""The ladder: for each listed object the strongest evidence that costs no content byte.

A HEAD is made only where the listing says that something is to be gained, part
digests are asked for only after a HEAD showed a composite, and a permission that is
missing lowers the evidence and is said once; it never fails a snapshot.
"""

from __future__ import annotations

from typing import Any, Final

from manifestd.errors import ChangedError
from manifestd.model.digest import HEX_LENGTH
from manifestd.model.entry import Entry, Problem
from manifestd.model.evidence import STORED
from manifestd.sources.base import Known
from manifestd.sources.s3_checksums import (
    COMPOSITE,
    FULL,
    Checksums,
    best_composite,
    checksums_of,
    composite,
    equal_parts,
    layout,
    md5_etag,
    multipart_etag,
)
from manifestd.sources.s3_client import Answer, Connection
from manifestd.sources.s3_listing import Listed
from manifestd.sources.s3_notes import Notes
from manifestd.sources.s3_options import S3Options
from manifestd.sources.s3_probe import Probe
from manifestd.sources.s3_reports import Reports

WORTH_A_HEAD: Final = 256 * 1024
"""Bytes below which reading costs as little as asking for a checksum that proves no equality."""

_STRONG: Final = frozenset({"SHA256", "SHA512"})
_SAMPLE: Final = 4
"""HEADs made to learn whether a server has checksums that its listings do not mention."""

UNENCRYPTED: Final = {"SSE-S3": "AES256", "NOT-SSE": None}
"""An inventory's words for objects whose entity tag may be an MD5 -> the header's."""


class Ladder:
    """Evidence for the objects of one listing. :meth:`climb` may run in several threads.

    Args:
        connection: To the bucket.
        prefix: What paths are relative to.
        options: ``heads``, ``read`` and ``etagIsMd5`` decide what is asked.
        notes: Where lowered evidence is said.
        reports: Checksums computed at rest, to attach.
        known: What was recorded of a path before; asked in listing order.
    """

    def __init__(
        self,
        connection: Connection,
        prefix: str,
        options: S3Options,
        notes: Notes,
        reports: Reports,
        *,
        known: Known | None = None,
    ) -> None:
        self._known = None if options.heads == "always" else known
        self._prefix = prefix
        self._options = options
        self._probe = Probe(connection, notes)
        self._reports = reports
        self._listing_names_algorithms = False
        self._sampled = 0
        self._sample_showed = False
        self._untyped = False
        express = connection.bucket.endswith("--x-s3")
        self._etags_trusted = (connection.amazon or options.etag_is_md5) and not express

    def wants(self, item: Listed) -> bool:
        """Whether a HEAD of this object may gain something. Called in listing order."""
        heads = self._options.heads
        if heads == "never" or self._probe.heads_denied:
            return False
        if heads == "always":
            return True
        if item.algorithms is not None:
            self._listing_names_algorithms = True
            # A server without checksum types has nothing that could be claimed.
            if self._untyped and item.kind is None:
                return False
            if not _STRONG.isdisjoint(item.algorithms):
                return True
            if self._reports.covers(item):
                return False
            return self._options.read == "none" or item.size >= WORTH_A_HEAD
        if self._listing_names_algorithms:
            return False
        if self._sampled < _SAMPLE:
            self._sampled += 1
            return True
        return self._sample_showed

    def recalled(self, item: Listed) -> Entry | None:
        """The entry as it was found for this very object before; nothing need be asked again.

        What S3 stored of an object stays as long as its entity tag, version and time do.
        """
        known = None if self._known is None else self._known(item.key[len(self._prefix) :])
        identity = _identity(item)
        if known is None or known.size != item.size or known.seen.identity != identity:
            return None
        if "etag" not in identity or self._reports.covers(item):
            return None
        evidence = known.seen.evidence
        stored = {
            name: value for name, value in known.digests().items() if evidence.get(name) == STORED
        }
        measured = evidence.get("sha256") in {"measured", "reused"}
        if not measured and not _answered(item, stored, known.seen.hints):
            # A HEAD was refused then, or thought not worth it; it may be now.
            return None
        return Entry(
            path=known.path,
            size=item.size,
            digests=stored,
            evidence=dict.fromkeys(stored, STORED),
            identity=identity,
            hints=known.seen.hints,
        )

    @property
    def sampling(self) -> bool:
        """Whether the next HEAD decides about those after it (so wait for it)."""
        return not self._listing_names_algorithms and not self._sample_showed

    def plain(self, item: Listed) -> Entry:
        """The entry from the listing and the reports alone."""
        return self._entry(item, _Found(item))

    def climb(self, item: Listed) -> Entry:
        """The entry with what HEAD, and for composites more, can tell."""
        found = _Found(item)
        try:
            answer = self._probe.head(item)
        except ChangedError as error:
            found.problem = Problem(
                path=item.key[len(self._prefix) :],
                code=error.code,
                what=error.what,
                hint=error.hint,
            )
            return self._entry(item, found)
        if answer is not None:
            sums = checksums_of(answer.headers)
            if sums.kind is not None:
                self._sample_showed = True
            elif sums.values:
                self._untyped = True
            self._take(item, answer, sums, found)
        return self._entry(item, found)

    def _entry(self, item: Listed, found: _Found) -> Entry:
        if found.problem is None:
            if item.encryption in UNENCRYPTED:
                self._etag(item, UNENCRYPTED[item.encryption], found)
            self._reports.attach(item, found.digests, found.hints)
        return Entry(
            path=item.key[len(self._prefix) :],
            size=item.size,
            digests=found.digests,
            evidence=dict.fromkeys(found.digests, STORED),
            identity=_identity(item),
            hints=found.hints,
            problem=found.problem,
        )

    def _take(self, item: Listed, answer: Answer, sums: Checksums, found: _Found) -> None:
        if sums.kind:
            found.hints["checksumType"] = sums.kind
        if sums.odd:
            found.hints["oddChecksums"] = dict(sorted(sums.odd.items()))
        if sums.kind == FULL:
            for algorithm, value in sums.values.items():
                if algorithm in HEX_LENGTH and algorithm not in sums.parts:
                    found.digests[algorithm] = value
                else:
                    found.hints.setdefault("otherChecksums", {})[algorithm] = value
        elif sums.kind == COMPOSITE:
            self._composites(item, sums, found)
        elif sums.values:
            # No type, no claim: the value may be of the bytes or of part digests.
            found.hints["untypedChecksums"] = dict(sorted(sums.values.items()))
        encryption = answer.headers.get("x-amz-server-side-encryption")
        if "x-amz-server-side-encryption-customer-algorithm" in answer.headers:
            encryption = "SSE-C"
        if encryption:
            found.hints["encryption"] = encryption[:40]
        self._etag(item, encryption, found, headers=answer.headers)

    def _composites(self, item: Listed, sums: Checksums, found: _Found) -> None:
        for name, value in sums.values.items():
            found.digests[f"{name}-composite"] = value
        algorithm = best_composite(sums)
        if algorithm is None:
            return
        count = sums.parts[algorithm]
        hint: dict[str, Any] = {"algorithm": algorithm, "count": count}
        found.hints["composite"] = hint
        if count == 1:
            if algorithm.upper() in _STRONG:
                self._single_part(item, algorithm, sums.values[algorithm], hint, found)
            return
        parts = self._probe.parts(item, count)
        if parts is None:
            return
        hint |= layout(parts.sizes)
        digests = parts.digests.get(algorithm)
        if not digests:
            return
        if composite(algorithm, digests) in {None, sums.values[algorithm]}:
            hint["parts"] = digests
            return
        # One of the two is wrong, and nothing says which.
        del found.digests[f"{algorithm}-composite"]
        self._probe.say(
            "composite-mismatch",
            "part checksums of {n} object{s} do not give their composite, which is not used",
            item,
        )

    def _single_part(
        self, item: Listed, algorithm: str, value: str, hint: dict[str, Any], found: _Found
    ) -> None:
        """One part is the whole object: its checksum is a full-object one, and can be proved so."""
        answer = self._probe.first_part(item, 1)
        if answer is None or answer.length() != item.size:
            return
        part = checksums_of(answer.headers).values.get(algorithm)
        if part is not None and composite(algorithm, [part]) == value:
            found.digests[algorithm] = part
            hint |= {"partSize": item.size, "parts": [part]}

    def _etag(
        self,
        item: Listed,
        encryption: str | None,
        found: _Found,
        *,
        headers: Any = None,
    ) -> None:
        """MD5, or MD5 of MD5s, in the entity tag, where it is known to be one."""
        trusted = self._etags_trusted or (headers is not None and _verified_server(headers))
        whole = md5_etag(item.etag, encryption, trusted=trusted)
        if whole is not None:
            found.digests.setdefault("md5", whole)
            return
        several = multipart_etag(item.etag)
        if several is None or not trusted or encryption not in {None, "AES256"}:
            return
        value, count = several
        found.digests["md5-composite"] = value
        hint: dict[str, Any] = {"algorithm": "md5", "count": count}
        known = found.hints.get("composite", {})
        if "partSize" in known or "partSizes" in known:
            hint |= {name: known[name] for name in ("partSize", "partSizes") if name in known}
        elif headers is not None and not {"sha256", "sha512"} & found.digests.keys():
            answer = self._probe.first_part(item, count)
            first = answer.length() if answer is not None else None
            if first is not None and equal_parts(item.size, first, count):
                hint["partSize"] = first
        found.hints["md5-composite" if known else "composite"] = hint


class _Found:
    """What was found out about one object so far."""

    __slots__ = ("digests", "hints", "problem")

    def __init__(self, item: Listed) -> None:
        self.digests: dict[str, str] = {}
        self.hints: dict[str, Any] = {}
        self.problem: Problem | None = None
        if item.storage:
            self.hints["storageClass"] = item.storage
        if item.algorithms:
            self.hints["checksumAlgorithms"] = list(item.algorithms)
        if item.kind:
            self.hints["checksumType"] = item.kind


def _answered(item: Listed, stored: dict[str, str], hints: dict[str, Any]) -> bool:
    """Whether S3 told, when it was asked before, the checksum that the listing names."""
    if any(name in hints for name in ("untypedChecksums", "otherChecksums", "oddChecksums")):
        return True
    if item.algorithms is None:
        return bool(stored)
    known = {name.removesuffix("-composite") for name in stored}
    return any(name.lower() in known for name in item.algorithms)


def _identity(item: Listed) -> dict[str, str]:
    """What stays the same as long as the object does; no key for what is not known."""
    identity = {}
    if item.etag:
        identity["etag"] = item.etag
    if item.version is not None:
        identity["versionId"] = item.version
    if item.modified:
        identity["lastModified"] = item.modified
    return identity


def _verified_server(headers: Any) -> bool:
    """Servers whose entity tags were checked to be made as Amazon's: Swift and Ceph RGW."""
    request = headers.get("x-amz-request-id", "")
    return bool(request.startswith("tx0") or headers.get("x-trans-id", "").startswith("tx"))
