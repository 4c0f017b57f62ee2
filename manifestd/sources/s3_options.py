"""What can be set for S3 beyond the reference (``SourceSettings.options``)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from manifestd import canonical
from manifestd.errors import ConfigError
from manifestd.sources.base import SourceSettings


class S3Options(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Settings only S3 knows; credentials, regions and endpoints come from AWS's own chain.

    Attributes:
        requester_pays: Send ``x-amz-request-payer``: the caller pays for requests and traffic.
        anonymous: Do not sign requests (public buckets without credentials).
        checksums: Completion reports of "Compute checksum" jobs, paths or ``s3://`` URLs:
            the report's ``manifest.json``, or one of its CSV files.
        inventory: An S3 Inventory ``manifest.json`` (path or URL) to use instead of listing.
        heads: Whether single objects are asked for their checksums: ``auto`` where the
            listing says that something is to be gained, ``always``, ``never``.
        read: The snapshot's read mode; with ``none`` weak checksums of small objects are
            worth a request too, because nothing better will follow.
        addressing_style: ``auto``, ``path`` or ``virtual``, as in AWS's configuration file.
        etag_is_md5: The server is known to make ETags the way Amazon's does.
    """

    requester_pays: bool = False
    anonymous: bool = False
    checksums: tuple[str, ...] = ()
    inventory: str | None = None
    heads: Literal["auto", "always", "never"] = "auto"
    read: Literal["missing", "all", "none"] = "missing"
    addressing_style: Literal["auto", "path", "virtual"] | None = None
    etag_is_md5: bool = False


_HINT: Final = (
    "known are heads=auto|always|never, addressingStyle=auto|path|virtual and etagIsMd5=true; "
    "the others have flags of their own"
)


def options_of(settings: SourceSettings) -> S3Options:
    """The S3 part of ``settings``, checked.

    Raises:
        ConfigError: An unknown name or a value of the wrong kind.
    """
    try:
        return msgspec.convert(settings.options, canonical.prepared(S3Options))
    except msgspec.ValidationError as error:
        raise ConfigError(f"an S3 option is not usable: {error}", hint=_HINT) from error
