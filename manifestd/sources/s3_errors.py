"""What S3 and botocore say when something fails, as errors with a reason and one thing to do.

Codes and wire forms are those measured in the design reference on faults: HEAD has no
error body (its codes are bare numbers), throttling is 503 ``SlowDown``, expired
credentials are 400 ``ExpiredToken``, a refused encryption key is 403 ``AccessDenied``
whose text sometimes names ``kms:Decrypt``, an archived object 403 ``InvalidObjectState``.
"""

from __future__ import annotations

from typing import Any, Final

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from manifestd.errors import (
    AccessDeniedError,
    ChangedError,
    ConfigError,
    ManifestdError,
    MismatchError,
    RateLimitedError,
    SourceNotFoundError,
    TransientError,
    UnreachableError,
    UnreadableError,
    UsageError,
)
from manifestd.redact import redact

FAULTS: Final = (boto.ClientError, boto.BotoCoreError, ResponseParserError, ValueError, OSError)
"""Everything a request may raise that is not a defect of ours; botocore parses numbers and
times of an answer with plain ValueErrors."""

EXPIRED: Final = frozenset({
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired",
})  # fmt: skip
"""Credentials were right and are no more: building the session anew may find newer ones."""

_THROTTLED: Final = frozenset({
    "SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "ThrottledException",
    "RequestThrottled", "RequestThrottledException", "TooManyRequestsException",
    "RequestLimitExceeded", "BandwidthLimitExceeded", "503", "429",
})  # fmt: skip
_SERVER: Final = frozenset({"InternalError", "RequestTimeout", "500", "502", "504", "408"})
_KEYS_REFUSED: Final = frozenset({
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity",
    "UnrecognizedClientException", "InvalidClientTokenId",
})  # fmt: skip
_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_DENIED: Final = frozenset({"AccessDenied", "403", "AllAccessDisabled", "AccountProblem", "401"})
_REGION: Final = frozenset({
    "PermanentRedirect", "TemporaryRedirect", "301", "307", "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
})  # fmt: skip
_CHANGED: Final = frozenset({
    "PreconditionFailed", "412", "ConditionalRequestConflict", "409", "InvalidRange", "416",
})  # fmt: skip
_NOWHERE: Final = frozenset({"NoSuchBucket", "NoSuchKey", "404", "410"})
_GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed", "405", "410"})
"""Of an object: 405 is what a delete marker answers."""
_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.NoAuthTokenError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.LoginError,
    boto.MetadataRetrievalError,
)
_CONFIGURATION: Final = (
    boto.ProfileNotFound,
    boto.ConfigParseError,
    boto.ConfigNotFound,
    boto.InvalidConfigError,
    boto.InvalidRegionError,
    boto.InvalidRetryConfigurationError,
    boto.InvalidS3AddressingStyleError,
    boto.UnsupportedS3ConfigurationError,
    boto.InvalidProxiesConfigError,
    boto.InvalidDefaultsMode,
)

PERMISSIONS: Final[dict[str, str]] = {
    "ListObjectsV2": "s3:ListBucket on the bucket",
    "ListObjectVersions": "s3:ListBucketVersions on the bucket",
    "GetBucketVersioning": "s3:GetBucketVersioning on the bucket",
    "HeadObject": "s3:GetObject (s3:GetObjectVersion with a version id) on the objects",
    "GetObject": "s3:GetObject (s3:GetObjectVersion with a version id) on the objects",
    "GetObjectAttributes": "s3:GetObjectAttributes on the objects",
}
"""What each call needs, for hints."""


class ArchivedError(AccessDeniedError):
    """The object is in an archive class and was not restored; its checksums can still be asked for."""

    code = "archived"


def shown(bucket: str, key: str | None = None) -> str:
    """``s3://bucket/key`` for screens: what a terminal would obey is escaped."""
    text = f"s3://{bucket}/{key or ''}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def code_of(error: Exception) -> str:
    """S3's error code; empty for errors that are not S3's answer."""
    if not isinstance(error, boto.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: Exception) -> int:
    """The HTTP status of S3's answer, 0 if there was none."""
    if not isinstance(error, boto.ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def denied(error: Exception) -> bool:
    """Whether S3 said 403 for lack of a permission (not for a lack of valid credentials)."""
    return code_of(error) in _DENIED


def translate(error: Exception, bucket: str, key: str | None = None) -> ManifestdError:
    """The error of manifestd that says what a botocore error means.

    Args:
        error: What botocore raised.
        bucket: The bucket that was asked.
        key: The object, or None when the bucket itself was asked.
    """
    if isinstance(error, ManifestdError):
        return error
    place = shown(bucket, key)
    if isinstance(error, boto.ClientError):
        return _answered(error, place, bucket, key)
    return _unanswered(error, place)


def final(error: ManifestdError) -> ManifestdError:
    """``error`` once retries are spent: users never meet a :class:`TransientError`."""
    if not isinstance(error, TransientError):
        return error
    kind = RateLimitedError if error.throttled else UnreachableError
    return kind(error.what, why=error.why, hint=error.hint, facts=error.facts)


def no_credentials(why: str) -> AccessDeniedError:
    """The error for credentials that could not be had at all."""
    return AccessDeniedError(
        "no usable AWS credentials",
        why=why,
        hint="set AWS_PROFILE or run aws configure (aws sts get-caller-identity shows what is used)",
    )


def _answered(error: boto.ClientError, place: str, bucket: str, key: str | None) -> ManifestdError:
    code, status = code_of(error), status_of(error)
    body: dict[str, Any] = error.response.get("Error", {})
    message = redact(str(body.get("Message", "")))[:300]
    facts: dict[str, Any] = {"place": place, "s3Code": code, "status": status}
    if code in EXPIRED:
        return AccessDeniedError(
            f"{place}: the credentials have expired",
            hint="log in again (aws sso login, or new keys), then run the same command: it goes on",
            facts=facts,
        )
    if code in _KEYS_REFUSED:
        hint = "check AWS_PROFILE or the keys: aws sts get-caller-identity"
        what = f"{place}: the credentials are not accepted"
        return AccessDeniedError(what, why=message or None, hint=hint, facts=facts)
    if code in _CLOCK:
        return AccessDeniedError(
            f"{place}: this machine's clock differs too much from the server's",
            hint="set the clock, then run the same command again",
            facts=facts,
        )
    if code == "NoSuchBucket" or (key is None and code in _NOWHERE):
        return SourceNotFoundError(
            f"the bucket {bucket} does not exist",
            hint="check the bucket's name, AWS_PROFILE and AWS_ENDPOINT_URL_S3",
            facts=facts,
        )
    if code in _THROTTLED or status in {429, 503}:
        return TransientError(
            f"{place}: the server asks to slow down",
            throttled=True,
            retry_after=_retry_after(error),
            hint="run again later, or with fewer --jobs",
            facts=facts,
        )
    if code in _SERVER or status >= 500:
        return TransientError(
            f"{place}: the server failed ({code or status})", why=message or None, facts=facts
        )
    if code in _REGION:
        return _elsewhere(error, bucket, facts)
    if code == "InvalidObjectState":
        return _archived(body, place, facts)
    locked = _encrypted(code, message, place, facts, of_object=key is not None)
    if locked is not None:
        return locked
    if code in _DENIED or status in {401, 403}:
        return AccessDeniedError(
            f"{place}: access denied",
            why=message if message not in {"", "Forbidden", "Access Denied"} else None,
            hint=f"needs {PERMISSIONS.get(error.operation_name, 'read access')}; "
            "a requester-pays bucket also needs --request-payer",
            facts=facts,
        )
    if key is not None and code in _CHANGED | _GONE:
        return _changed(code, place, facts)
    what = f"{place}: S3 refused with {code or status}"
    advice = "check the bucket's name and AWS_ENDPOINT_URL_S3" if key is None else None
    return UnreadableError(what, why=message or None, hint=advice, facts=facts)


def _encrypted(
    code: str, message: str, place: str, facts: dict[str, Any], *, of_object: bool
) -> ManifestdError | None:
    """Access that fails for want of an encryption key, not of a permission to read."""
    if code.startswith("KMS.") or (code in _DENIED and "kms:" in message.lower()):
        facts["reason"] = "kms-denied"
        return AccessDeniedError(
            f"{place}: the encryption key may not be used",
            why=message or None,
            hint="ask for kms:Decrypt on the bucket's key; checksums may be had without it",
            facts=facts,
        )
    if of_object and code in {"InvalidRequest", "400"} and _customer_key(code, message):
        facts["reason"] = "ssec-no-key"
        return AccessDeniedError(
            f"{place}: encrypted with a key that only its owner has (SSE-C)",
            hint="copy it to an object with SSE-S3 or SSE-KMS, or exclude it with --ignore",
            facts=facts,
        )
    return None


def _changed(code: str, place: str, facts: dict[str, Any]) -> ManifestdError:
    gone = code in _GONE
    return ChangedError(
        f"{place} was {'deleted' if gone else 'replaced'} after it was listed",
        hint="take the snapshot again",
        facts=facts,
    )


def _archived(body: dict[str, Any], place: str, facts: dict[str, Any]) -> ManifestdError:
    tier = body.get("AccessTier") or body.get("StorageClass") or "an archive class"
    facts["storageClass"] = str(tier)[:40]
    return ArchivedError(
        f"{place} is archived ({facts['storageClass']}) and not restored",
        hint="let S3 compute its checksum at rest (snapshot s3 --explain prints the job), "
        "or restore it yourself: manifestd never does",
        facts=facts,
    )


def _elsewhere(error: boto.ClientError, bucket: str, facts: dict[str, Any]) -> ManifestdError:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region")
    if region:
        facts["region"] = str(region)[:40]
    # AWS_REGION, which other SDKs read, means nothing to botocore.
    return UnreachableError(
        f"the bucket {bucket} is in another region",
        hint=f"set AWS_DEFAULT_REGION={facts.get('region', 'REGION')}",
        facts=facts,
    )


def _customer_key(code: str, message: str) -> bool:
    # HEAD of an SSE-C object without its key is a bare 400; GET says it in words.
    return code == "400" or "server side encryption" in message.lower()


def _retry_after(error: boto.ClientError) -> float | None:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        seconds = float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < 86400 else None


def _unanswered(error: Exception, place: str) -> ManifestdError:
    text = redact(str(error))[:300]
    if isinstance(error, boto.FlexibleChecksumError):
        return MismatchError(
            f"{place} is corrupt: its bytes do not have the checksum that was sent with them",
            why=text,
            hint="read it again; if that fails too, the stored object is damaged",
            facts={"place": place, "reason": "corrupt"},
        )
    if isinstance(error, _NO_CREDENTIALS):
        return no_credentials(text)
    if isinstance(error, _CONFIGURATION):
        return ConfigError(
            "the AWS configuration is not usable",
            why=text,
            hint="correct the AWS_ variables and the files that `aws configure list` names",
        )
    if isinstance(error, boto.ParamValidationError | boto.UnsupportedS3ArnError):
        return UsageError(f"{place} is not a usable name", why=text)
    if isinstance(error, boto.SSLError):
        return UnreachableError(
            f"{place}: the TLS connection could not be trusted",
            why=text,
            hint="set AWS_CA_BUNDLE to the file with the server's certificate authority",
        )
    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError):
        return TransientError(
            f"{place}: the endpoint cannot be reached",
            why=text,
            hint="check the network and AWS_ENDPOINT_URL_S3",
        )
    if isinstance(error, boto.BotoCoreError | OSError):
        return TransientError(f"{place}: the connection broke", why=text)
    # botocore checks endpoints, parses answers and decodes keys with plain ValueErrors.
    return UnreachableError(
        f"{place}: the answer or the endpoint makes no sense",
        why=text,
        hint="check AWS_ENDPOINT_URL_S3",
    )
