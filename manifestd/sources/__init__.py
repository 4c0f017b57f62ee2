"""Where model repositories live. One line here is all a new source needs."""

from __future__ import annotations

from typing import Any

from manifestd.plugins import Family
from manifestd.sources.base import Source

SOURCES: Family[Source[Any]] = Family(
    "sources",
    {
        "hf-cache": "manifestd.sources.cache:CacheSource",
        "file": "manifestd.sources.directory:DirectorySource",
        "hf": "manifestd.sources.hub:HubSource",
        "oci": "manifestd.sources.oci:OciSource",
        "s3": "manifestd.sources.s3:S3Source",
    },
)
