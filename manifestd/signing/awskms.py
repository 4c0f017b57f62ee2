"""Keys in AWS KMS: the private half never leaves it. ``awskms:///alias/NAME``, an id or an ARN.

Credentials, region and endpoint come from boto3's own chain; nothing secret is
in the URI.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from manifestd.errors import (
    AccessDeniedError,
    MalformedError,
    SourceNotFoundError,
    UnreachableError,
    UsageError,
)
from manifestd.redact import redact
from manifestd.signing.base import Passphrase, Signer
from manifestd.signing.public import Algorithm, PublicKey, public_key_of_der

_RAW_LIMIT: Final = 4096
"""Bytes that KMS hashes itself (API reference, Sign, "Message"); of more it takes the digest."""

_KEY_ID = re.compile(r"(alias/[A-Za-z0-9/_-]{1,250}|arn:[!-~]{1,2000}|[A-Za-z0-9-]{8,128})\Z")

_ALGORITHMS: Final[dict[Algorithm, tuple[str, Callable[[bytes], Any]]]] = {
    "p256": ("ECDSA_SHA_256", hashlib.sha256),
    "p384": ("ECDSA_SHA_384", hashlib.sha384),
    "p521": ("ECDSA_SHA_512", hashlib.sha512),
}

# Error codes of the KMS API (API reference, "Common errors" and GetPublicKey, Sign).
_DENIED: Final = frozenset(
    {
        "AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId",
        "IncompleteSignature", "MissingAuthenticationTokenException", "ExpiredTokenException",
        "InvalidSignatureException", "NotAuthorized",
    }
)  # fmt: skip
_UNUSABLE: Final = frozenset(
    {
        "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException",
        "UnsupportedOperationException", "InvalidArnException", "ValidationException",
    }
)  # fmt: skip


class KmsSigner(Signer):
    """An ECDSA key in AWS KMS with the usage SIGN_VERIFY.

    Args:
        uri: ``awskms:///alias/NAME``, ``awskms:///KEY-ID`` or ``awskms:///arn:aws:kms:…``.
        passphrase: Not used; KMS keys have none.

    Raises:
        UsageError: A malformed URI, or a key that cannot sign for us.
        SourceNotFoundError: No such key in this account and region.
        AccessDeniedError: No credentials, or no permission.
        UnreachableError: KMS does not answer.
    """

    scheme: ClassVar[str] = "awskms"

    def __init__(self, uri: str, *, passphrase: Passphrase | None = None) -> None:
        self._id = uri.removeprefix("awskms:///")
        if not uri.startswith("awskms:///") or not _KEY_ID.match(self._id):
            raise UsageError(
                f"not a KMS key: {uri[:200]!r}", hint="write awskms:///alias/NAME or its key id"
            )
        with _translated(self._id):
            self._client = _client()
            answer = self._client.get_public_key(KeyId=self._id)
        self._public = _usable(self._id, answer)

    def sign(self, data: bytes) -> bytes:
        """DER ECDSA signature over ``data``, made in KMS.

        Raises:
            AccessDeniedError: The credentials may not sign with this key.
            UnreachableError: KMS does not answer.
        """
        algorithm, digest = _ALGORITHMS[self._public.algorithm]
        raw = len(data) <= _RAW_LIMIT
        with _translated(self._id):
            answer = self._client.sign(
                KeyId=self._id,
                Message=data if raw else digest(data).digest(),
                MessageType="RAW" if raw else "DIGEST",
                SigningAlgorithm=algorithm,
            )
        signature: bytes = answer["Signature"]
        return signature

    def public_pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM, 64-column lines, LF, final newline."""
        return self._public.pem


def _client() -> Any:
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    session = Session()
    if not session.region_name:  # botocore takes an empty variable for a region, and fails later
        raise NoRegionError
    timeouts = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard"})
    return session.client("kms", config=timeouts)


def _usable(key: str, answer: dict[str, Any]) -> PublicKey:
    if answer.get("KeyUsage") != "SIGN_VERIFY":
        raise UsageError(
            f"the KMS key {key} is not for signing",
            hint="make one with the usage SIGN_VERIFY and the key spec ECC_NIST_P256",
        )
    try:
        public = public_key_of_der(answer["PublicKey"])
    except MalformedError as error:
        raise UsageError(f"the KMS key {key}: {error.what}", hint=error.hint) from error
    if public.algorithm not in _ALGORITHMS:
        raise UsageError(
            f"the KMS key {key} is of a kind that cannot be used: {public.algorithm}",
            hint="make one with the key spec ECC_NIST_P256",
        )
    return public


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """Errors of boto3 as ours: what about which key, and what to do."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
        ProfileNotFound,
    )

    try:
        yield
    except ClientError as error:
        raise _of_answer(key, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccessDeniedError(
            "there are no AWS credentials for KMS",
            hint="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from error
    except NoRegionError as error:
        raise UsageError(
            "no AWS region is set for KMS", hint="set AWS_DEFAULT_REGION or AWS_PROFILE"
        ) from error
    except ProfileNotFound as error:
        raise UsageError(redact(str(error)), hint="correct AWS_PROFILE") from error
    except BotoCoreError as error:
        raise UnreachableError(
            f"KMS does not answer for the key {key}",
            why=redact(str(error)),
            hint="check the network, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL_KMS",
        ) from error


def _of_answer(key: str, error: Any) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    why = redact(str(error.response.get("Error", {}).get("Message", "")))[:500] or None
    facts = {"key": key, "awsCode": code}
    if code == "NotFoundException":
        return SourceNotFoundError(
            f"KMS has no key {key} in this account and region",
            why=why,
            hint="check the alias, AWS_DEFAULT_REGION and AWS_PROFILE",
            facts=facts,
        )
    if code in _DENIED:
        return AccessDeniedError(
            f"KMS refuses the use of the key {key}",
            why=why,
            hint="the credentials need kms:GetPublicKey and kms:Sign for it",
            facts=facts,
        )
    if code in _UNUSABLE:
        return UsageError(f"the KMS key {key} cannot be used ({code})", why=why, facts=facts)
    return UnreachableError(f"KMS answered with {code} for the key {key}", why=why, facts=facts)
