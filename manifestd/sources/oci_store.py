"""Putting things into a registry, and finding what is attached to an artifact there.

Distribution specification v1.1: monolithic uploads, manifests with a ``subject``,
the referrers API, and the tag that clients maintain where a registry lacks it.
"""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO, Final

import msgspec

from manifestd import canonical
from manifestd.errors import MalformedError, MismatchError, SourceNotFoundError, UnreachableError
from manifestd.model import media_types
from manifestd.model.digest import of_bytes
from manifestd.sources.oci_errors import refusal
from manifestd.sources.oci_http import Registry
from manifestd.sources.oci_manifest import (
    ACCEPTED,
    Descriptor,
    Manifest,
    checked_digest,
    parse_manifest,
)

MAX_REFERRERS: Final = 1000


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as a registry holds it, its bytes checked.

    Attributes:
        digest: Of its bytes.
        size: How many.
        media_type: What it is.
        manifest: Understood.
    """

    digest: str
    size: int
    media_type: str
    manifest: Manifest


def put_blob(registry: Registry, data: BinaryIO, digest: str, size: int) -> bool:
    """Upload a blob unless it is there; True when it was sent.

    Raises:
        AccessDeniedError, UnreachableError, RateLimitedError: As answered.
    """
    url = registry.url(f"blobs/{digest}")

    def there() -> bool:
        with registry.opened("HEAD", url, {}) as answer:
            return answer.status == 200

    def send() -> None:
        with registry.opened("POST", registry.url("blobs/uploads/"), {"Content-Length": "0"}) as begun:  # fmt: skip
            if begun.status != 202:
                raise refusal(begun, registry.subject(url))
            place = registry.following(registry.base, begun.headers.get("Location", ""))
        place += ("&" if "?" in place else "?") + f"digest={digest}"
        data.seek(0)
        headers = {"Content-Type": media_types.OCTETS, "Content-Length": str(size)}
        with registry.opened("PUT", place, headers, data) as done:
            if done.status != 201:
                raise refusal(done, registry.subject(url))

    if registry.retried(there):
        return False
    registry.retried(send)
    return True


def put_manifest(registry: Registry, data: bytes, tag: str | None) -> bool:
    """Upload a manifest under a tag, or by its digest; True if the registry noted its subject.

    Raises:
        MismatchError: The registry made something else of it.
        AccessDeniedError, UnreachableError, RateLimitedError: As answered.
    """
    digest = of_bytes(data)
    url = registry.url(f"manifests/{tag or digest}")
    kind = canonical.decode_foreign(data, name="manifest")["mediaType"]

    def send() -> bool:
        with registry.opened("PUT", url, {"Content-Type": kind}, data) as answer:
            if answer.status not in {200, 201}:
                raise refusal(answer, registry.subject(url))
            told = answer.headers.get("Docker-Content-Digest", digest)
            if told != digest:
                raise MismatchError(f"{registry.host} stores {digest} as {told}")
            return "OCI-Subject" in answer.headers

    return registry.retried(send)


def get_manifest(registry: Registry, name: str) -> Stored:
    """The manifest of a tag or digest.

    Raises:
        MismatchError: Its bytes do not have the digest that was asked for.
        SourceNotFoundError, AccessDeniedError, UnreachableError, MalformedError: As answered.
    """
    url = registry.url(f"manifests/{name}")
    data, answer = registry.document(url, {"Accept": ", ".join(ACCEPTED)})
    digest = checked_digest(data, name, None, registry.host)
    kind = answer.headers.get("Content-Type", "")
    manifest = parse_manifest(data, kind)
    stated = manifest.media_type or kind.partition(";")[0].strip()
    return Stored(digest=digest, size=len(data), media_type=stated, manifest=manifest)


def get_blob(registry: Registry, blob: Descriptor, limit: int) -> bytes:
    """A small blob, checked.

    Raises:
        MalformedError: It is larger than ``limit``.
        MismatchError: Its bytes do not have its digest.
    """
    if blob.size > limit:
        raise MalformedError(f"{blob.digest} has {blob.size} bytes, at most {limit} are taken")
    data, _ = registry.document(registry.url(f"blobs/{blob.digest}"), {}, limit)
    algorithm, _, value = blob.digest.partition(":")
    if hashlib.new(algorithm, data).hexdigest() != value:
        raise MismatchError(f"{registry.host}'s bytes for {blob.digest} do not have that digest")
    return data


def referrers(registry: Registry, digest: str) -> list[Descriptor]:
    """What says it is attached to a manifest, by the API and by the tag.

    Anyone who may push can add to the list or leave something out: it proves nothing.
    """
    found: dict[str, Descriptor] = {}
    for url in (registry.url(f"referrers/{digest}"), _tag_url(registry, digest)):
        listed = _index(registry, url)
        for item in (listed or [])[:MAX_REFERRERS]:
            found.setdefault(item.digest, item)
    return list(found.values())


def attach_by_tag(registry: Registry, subject: str, referrer: bytes) -> None:
    """Add a manifest to the tag that lists referrers where there is no API for it.

    The whole artifact type and all annotations go into the list (distribution-spec,
    "Unavailable Referrers API").
    """
    url = _tag_url(registry, subject)
    document = canonical.decode_foreign(referrer, name="manifest")
    digest = of_bytes(referrer)
    listed = _index(registry, url) or []
    if any(item.digest == digest for item in listed):
        return
    own: dict[str, Any] = {
        "annotations": document.get("annotations", {}),
        "artifactType": document["artifactType"],
        "digest": digest,
        "mediaType": document["mediaType"],
        "size": len(referrer),
    }
    index = {
        "manifests": [*map(_plain, listed), own],
        "mediaType": media_types.OCI_INDEX,
        "schemaVersion": 2,
    }
    put_manifest(registry, canonical.encode(index), url.rpartition("/")[2])


def has_referrers_api(registry: Registry, digest: str) -> bool:
    """Whether the registry lists referrers itself."""
    return _index(registry, registry.url(f"referrers/{digest}")) is not None


def _index(registry: Registry, url: str) -> list[Descriptor] | None:
    try:
        data, answer = registry.document(url, {"Accept": media_types.OCI_INDEX})
    except SourceNotFoundError:
        return None
    except UnreachableError:
        # Registries without the API answer an unknown path as they like (400, 405).
        if "/referrers/" in url:
            return None
        raise
    if "/referrers/" in url and not answer.headers.get("Content-Type", "").startswith(
        media_types.OCI_INDEX
    ):
        return None
    return parse_manifest(data, media_types.OCI_INDEX).manifests or []


def _plain(item: Descriptor) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(item)
    return {name: value for name, value in plain.items() if value is not None}


def _tag_url(registry: Registry, digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return registry.url(f"manifests/{algorithm[:32]}-{value[:64]}")
