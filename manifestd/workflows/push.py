"""``push``: a stored snapshot, with all it needs and its signatures, into a registry."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Mapping
from contextlib import closing
from typing import Literal

from manifestd.errors import UsageError
from manifestd.model import media_types
from manifestd.model.carrier import (
    BUNDLE_LAYER,
    EMPTY,
    Pointer,
    Pushed,
    carrier_document,
    pointer,
    signature_document,
)
from manifestd.model.digest import of_bytes
from manifestd.model.manifest import Item, encode_manifest
from manifestd.model.reference import OciReference
from manifestd.model.snapshot import Snapshot, moment_of
from manifestd.sources.base import SourceSettings
from manifestd.sources.oci_http import Registry
from manifestd.sources.oci_store import (
    attach_by_tag,
    get_manifest,
    has_referrers_api,
    put_blob,
    put_manifest,
)
from manifestd.store import Store
from manifestd.workflows.bundle_write import write_bundle


def push_snapshot(
    store: Store,
    reference: str,
    target: OciReference,
    *,
    settings: SourceSettings,
    subject: OciReference | None = None,
    environ: Mapping[str, str] | None = None,
) -> Pushed:
    """Push the carrier of one snapshot, then a referrer for each of its signatures.

    Args:
        store: Where the snapshot is.
        reference: Its name.
        target: Repository, and the tag to give; with a subject the tag may be left out.
        settings: Timeouts; the option ``plainHttp``.
        subject: An artifact of the same repository, by digest, to attach the carrier to.
        environ: Where docker's configuration is looked for.

    Raises:
        UsageError: The target has a digest, or the subject is no digest of that repository.
        SourceNotFoundError: The subject is not there.
        AccessDeniedError, UnreachableError, RateLimitedError: As the registry answers.
    """
    _check(target, subject)
    digest = store.snapshots.resolve(reference)
    record = store.snapshots.load(digest)
    made = Registry(target, settings, environ=os.environ if environ is None else environ)
    with closing(made) as registry:
        above = None
        if subject is not None and subject.digest is not None:
            stored = get_manifest(registry, subject.digest)
            above = _pointer_to(stored.digest, stored.media_type, stored.size)
        layers = [_bundle_layer(registry, store, digest, record), *_manifest_layer(registry, store, record)]  # fmt: skip
        put_blob(registry, io.BytesIO(EMPTY), media_types.OCI_EMPTY_DIGEST, len(EMPTY))
        carrier = carrier_document(digest, record, layers, above)
        ways = [_put(registry, carrier, target.tag, above)]
        own = pointer(carrier, media_types.OCI_MANIFEST)
        attached: list[str] = []
        for bundle in store.snapshots.bundles(digest):
            _put_bytes(registry, bundle)
            signature = signature_document(bundle, record, own)
            ways.append(_put(registry, signature, None, own))
            attached.append(of_bytes(signature))
    return Pushed(
        snapshot=digest,
        carrier=own["digest"],
        repository=target.place(),
        tag=target.tag,
        subject=subject.digest if subject is not None else None,
        signatures=attached,
        referrers=next((way for way in ways[::-1] if way is not None), None),
    )


def _check(target: OciReference, subject: OciReference | None) -> None:
    if target.digest is not None:
        raise UsageError(
            "what is pushed gets its own digest", hint=f"write {target.place()}:TAG"
        )  # fmt: skip
    if subject is None:
        if target.tag is None:
            raise UsageError("the target has no tag", hint=f"write {target.place()}:TAG")
        return
    if subject.digest is None:
        raise UsageError(
            f"the subject {subject} is not named by its digest",
            why="a tag may move, what is attached does not move with it",
            hint="the digest is the revision in `manifestd show`",
        )
    if subject.place() != target.place():
        raise UsageError(
            f"the subject is in {subject.place()}, the target in {target.place()}",
            why="registries list what is attached only within one repository",
        )


def _bundle_layer(registry: Registry, store: Store, digest: str, record: Snapshot) -> Pointer:
    with tempfile.TemporaryFile() as file:
        # The record's own time, so that the same snapshot makes the same file.
        write_bundle(store, [digest], file, now=moment_of(record.captured_at))
        size = file.tell()
        file.seek(0)
        name = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        put_blob(registry, file, name, size)
    title = {media_types.OCI_TITLE: "snapshot.bundle"}
    return {**_pointer_to(name, BUNDLE_LAYER, size), "annotations": title}


def _manifest_layer(registry: Registry, store: Store, record: Snapshot) -> list[Pointer]:
    """The manifest document, so that other tools find the list of files without our bundle."""
    if record.manifest is None:
        return []
    items = (
        Item(path, size, sha256)
        for path, size, sha256 in store.trees.content(record.content)
        if sha256 is not None
    )
    data = b"".join(encode_manifest(items))
    _put_bytes(registry, data)
    title = {media_types.OCI_TITLE: "manifest.json"}
    return [pointer(data, media_types.MANIFEST, annotations=title)]


def _put_bytes(registry: Registry, data: bytes) -> None:
    put_blob(registry, io.BytesIO(data), of_bytes(data), len(data))


def _put(
    registry: Registry, manifest: bytes, tag: str | None, subject: Pointer | None
) -> Literal["api", "tag"] | None:
    noted = put_manifest(registry, manifest, tag)
    if subject is None:
        return None
    if noted or has_referrers_api(registry, subject["digest"]):
        return "api"
    attach_by_tag(registry, subject["digest"], manifest)
    return "tag"


def _pointer_to(digest: str, media_type: str, size: int) -> Pointer:
    return {"digest": digest, "mediaType": media_type, "size": size}
