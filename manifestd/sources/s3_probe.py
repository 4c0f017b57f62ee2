"""Asking S3 about one object without reading it: HEAD, HEAD of a part, GetObjectAttributes.

What is refused lowers the evidence and is noted once; nothing here raises for one object.
"""

from __future__ import annotations

from typing import Any

from manifestd.errors import ChangedError
from manifestd.sources.s3_checksums import MAX_PARTS, Parts, parts_of
from manifestd.sources.s3_client import Answer, Connection, bare
from manifestd.sources.s3_errors import FAULTS, PERMISSIONS, denied, shown, status_of, translate
from manifestd.sources.s3_listing import Listed
from manifestd.sources.s3_notes import Notes


class Probe:
    """Questions about the objects of one bucket. Thread-safe.

    Args:
        connection: To the bucket.
        notes: Where refusals are said.

    Attributes:
        heads_denied: HEAD is not permitted at all; more of them are no use.
    """

    def __init__(self, connection: Connection, notes: Notes) -> None:
        self._connection = connection
        self._notes = notes
        self.heads_denied = False
        self._attributes_denied = False

    def head(self, item: Listed) -> Answer | None:
        """HEAD with checksums, without them where only those are refused; None if all is.

        Raises:
            ChangedError: The object is gone, or is not the one that was listed.
        """
        bucket = self._connection.bucket
        try:
            answer = self._connection.head(item.key, version=item.version, checksums=True)
        except FAULTS as error:
            if denied(error):
                return self._head_without_checksums(item)
            if status_of(error) in {404, 405, 410, 412}:
                raise translate(error, bucket, item.key) from error
            self.say("head-failed", "{n} object{s} could not be asked for checksums", item)
            return None
        if (item.etag and answer.etag() != item.etag) or answer.length() not in {None, item.size}:
            raise ChangedError(
                f"{shown(bucket, item.key)} was replaced after it was listed",
                hint="take the snapshot again",
            )
        return answer

    def _head_without_checksums(self, item: Listed) -> Answer | None:
        """The reason of a 403: with a KMS key, checksums need kms:Decrypt and a bare HEAD does not."""
        try:
            answer = self._connection.head(item.key, version=item.version, checksums=False)
        except FAULTS as error:
            if denied(error):
                self.heads_denied = True
                self.say(
                    "head-denied",
                    "checksums could not be asked for: HEAD is denied",
                    item,
                    hint=f"needs {PERMISSIONS['HeadObject']}",
                )
            return None
        self.say(
            "kms-denied",
            "checksums of {n} object{s} are behind an encryption key that may not be used",
            item,
            hint="needs kms:Decrypt on the bucket's key",
        )
        return answer

    def first_part(self, item: Listed, count: int) -> Answer | None:
        """HEAD of part 1 of an object of ``count`` parts; None where the server ignores parts."""
        try:
            answer = self._connection.head(item.key, version=item.version, checksums=True, part=1)
        except FAULTS:
            return None
        # Servers that ignore PartNumber answer for the whole object, without this header.
        if answer.headers.get("x-amz-mp-parts-count") != str(count):
            return None
        return answer if answer.etag() == item.etag else None

    def parts(self, item: Listed, count: int) -> Parts | None:
        """Part sizes and checksums by GetObjectAttributes, all pages, no page tried twice.

        Only for objects whose HEAD showed a composite of ``count`` parts: servers that do
        not know the call send the object itself.
        """
        if self._attributes_denied:
            return None
        arguments: dict[str, Any] = {
            "Bucket": self._connection.bucket,
            "Key": item.key,
            "ObjectAttributes": ["ETag", "ObjectParts", "ObjectSize"],
        }
        if item.version is not None:
            arguments["VersionId"] = item.version
        joined: list[Any] = []
        while len(joined) < min(count, MAX_PARTS):
            try:
                answer = self._connection.call("get_object_attributes", once=True, **arguments)
            except FAULTS as error:
                self._attributes_denied = denied(error) or status_of(error) in {400, 405, 500, 501}
                self.say(
                    "parts-unknown",
                    "part checksums of {n} object{s} could not be asked for",
                    item,
                    hint=f"needs {PERMISSIONS['GetObjectAttributes']}",
                )
                return None
            if bare(answer.get("ETag")) != item.etag or answer.get("ObjectSize") != item.size:
                return None
            page = answer.get("ObjectParts", {})
            joined += page.get("Parts", ())
            marker = page.get("NextPartNumberMarker")
            if not page.get("IsTruncated") or marker == arguments.get("PartNumberMarker"):
                break
            arguments["PartNumberMarker"] = marker
        found = parts_of({"Parts": joined})
        if found is None or len(found.sizes) != count or sum(found.sizes) != item.size:
            return None
        return found

    def say(self, code: str, what: str, item: Listed, *, hint: str | None = None) -> None:
        """Note something about this object; it is counted with others of the same code."""
        self._notes.add(code, what, example=shown(self._connection.bucket, item.key), hint=hint)
