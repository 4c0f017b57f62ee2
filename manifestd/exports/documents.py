"""Our own documents as other verifiers want them: the manifest, DSSE envelopes, signed bytes."""

from __future__ import annotations

from collections.abc import Iterator

from manifestd.errors import UsageError
from manifestd.exports.base import Export, Exported
from manifestd.model.envelope import pre_authentication_encoding
from manifestd.signing.dsse import dsse_envelope, open_bundle


class ManifestDocument(Export):
    """The manifest's bytes: ``sha256sum`` of the file is the manifest digest."""

    name = "manifest"

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """The canonical OCI image manifest."""
        for piece in snapshot.manifest():
            yield "", piece


class DsseEnvelopes(Export):
    """Bare DSSE envelopes, for securesystemslib and older cosign."""

    name = "dsse"
    several = True

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """One envelope a signature, numbered in stored order."""
        for number, bundle in enumerate(_signatures(snapshot), 1):
            yield f"signature-{number}.dsse.json", dsse_envelope(open_bundle(bundle))


class SignedBytes(Export):
    """What ``openssl dgst -verify`` takes: the signed bytes and the raw signature."""

    name = "pae"
    several = True

    def write(self, snapshot: Exported) -> Iterator[tuple[str, bytes]]:
        """``pae.bin`` and ``sig.bin`` (numbered from the second signature on)."""
        for number, bundle in enumerate(_signatures(snapshot), 1):
            parts = open_bundle(bundle)
            suffix = "" if number == 1 else f"-{number}"
            yield (
                f"pae{suffix}.bin",
                pre_authentication_encoding(parts.payload_type, parts.payload),
            )
            yield f"sig{suffix}.bin", parts.signature


def _signatures(snapshot: Exported) -> list[bytes]:
    if not snapshot.bundles:
        raise UsageError("the snapshot is unsigned", hint="take it again with a signing key")
    return snapshot.bundles
