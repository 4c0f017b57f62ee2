"""Snapshots in the formats of other tools. One line here is all a new export needs."""

from __future__ import annotations

from manifestd.exports.base import Export
from manifestd.plugins import Family

EXPORTS: Family[Export] = Family(
    "exports",
    {
        "sha256sum": "manifestd.exports.sha256sum:Sha256sum",
        "bagit": "manifestd.exports.bagit:Bagit",
        "cyclonedx": "manifestd.exports.cyclonedx:CycloneDx",
        "modelpack": "manifestd.exports.modelpack:ModelPack",
        "oci-layout": "manifestd.exports.oci_layout:OciLayout",
        "manifest": "manifestd.exports.documents:ManifestDocument",
        "dsse": "manifestd.exports.documents:DsseEnvelopes",
        "pae": "manifestd.exports.documents:SignedBytes",
        "parquet": "manifestd.exports.parquet:Parquet",
    },
    extras={"cyclonedx": "cyclonedx", "packageurl": "cyclonedx", "duckdb": "parquet"},
)
