"""Every media type and predicate type manifestd reads or writes, in one table."""

from __future__ import annotations

from typing import Final

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_EMPTY_DIGEST: Final = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
OCI_TITLE: Final = "org.opencontainers.image.title"

MANIFEST: Final = "application/vnd.manifestd.manifest.v1+json"
ARTIFACT: Final = "application/vnd.manifestd.manifest.v1"
OCTETS: Final = "application/octet-stream"

SIGSTORE_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"

SNAPSHOT_PREDICATE: Final = "https://manifestd.dev/predicate/snapshot/v1"
TAG_PREDICATE: Final = "https://manifestd.dev/predicate/tag/v1"
DELETION_PREDICATE: Final = "https://manifestd.dev/predicate/deletion/v1"
APPROVAL_PREDICATE: Final = "https://manifestd.dev/predicate/approval/v1"
"""Our extension inside a simple verification result."""
REVOCATION_PREDICATE: Final = "https://manifestd.dev/predicate/revocation/v1"
RECEIPT_PREDICATE: Final = "https://manifestd.dev/predicate/receipt/v1"
"""Our extension inside a verification summary."""
SVR_PREDICATE: Final = "https://in-toto.io/attestation/svr/v0.2"
VSA_PREDICATE: Final = "https://slsa.dev/verification_summary/v1"
TEST_RESULT_PREDICATE: Final = "https://in-toto.io/attestation/test-result/v0.1"

SCHEMA_SNAPSHOT: Final = "manifestd.snapshot/v1"
SCHEMA_RESULT: Final = "manifestd.snapshot-result/v1"
SCHEMA_DIFF: Final = "manifestd.diff/v1"
SCHEMA_FILES: Final = "manifestd.files/v1"
SCHEMA_ERROR: Final = "manifestd.error/v1"
SCHEMA_EXPLANATION: Final = "manifestd.explanation/v1"
SCHEMA_AGAINST: Final = "manifestd.against/v1"
SCHEMA_BUNDLE: Final = "manifestd.bundle/v1"
SCHEMA_IMPORT: Final = "manifestd.import/v1"
SCHEMA_OMS: Final = "manifestd.oms/v1"
SCHEMA_RUN: Final = "manifestd.run/v1"
SCHEMA_RUN_PLAN: Final = "manifestd.run-plan/v1"
SCHEMA_STATUS: Final = "manifestd.status/v1"
SCHEMA_LOG_ENTRY: Final = "manifestd.log-entry/v1"
