"""Every error manifestd raises: what, why, hint, facts, and the exit code it ends with.

The tree (codes are stable names that other programs may match on)::

    ManifestdError
    ├── NotApprovedError        1   not-approved
    ├── UsageError              2   usage
    │   ├── ConfigError         2   config-invalid
    │   ├── AmbiguousError      2   ambiguous-reference
    │   └── MissingExtraError   2   extra-missing
    ├── UndecidedError          3   undecided
    │   ├── SourceNotFoundError 3   source-not-found
    │   ├── NotStoredError      3   not-stored
    │   ├── AccessDeniedError   3   access-denied
    │   ├── UnreachableError    3   source-unreachable
    │   │   └── TransientError  3   source-unreachable (worth another try)
    │   ├── RateLimitedError    3   rate-limited
    │   ├── ChangedError        3   changed-while-reading
    │   ├── UnreadableError     3   unreadable
    │   ├── EmptySourceError    3   source-empty
    │   └── StoreLockedError    3   store-locked
    └── NotVerifiedError        4   not-verified
        ├── MismatchError       4   digest-mismatch
        ├── SignatureError      4   signature-invalid
        ├── UntrustedError      4   key-untrusted
        ├── UnsignedError       4   unsigned
        ├── NotCanonicalError   4   not-canonical
        ├── MalformedError      4   malformed
        └── TamperedError       4   store-tampered

A class exists where a caller or the exit code must tell it apart. Errors of
libraries are translated where the library is used, with ``raise ... from``.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ManifestdError(Exception):
    """Root of all expected errors.

    Args:
        what: One line with the values in it, the thing named first; no full stop.
        why: Only when ``what`` does not imply it.
        hint: One action, as a command where possible.
        facts: The values as data, for JSON output. Never a secret.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 3

    def __init__(
        self,
        what: str,
        *,
        why: str | None = None,
        hint: str | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.facts: dict[str, Any] = facts or {}

    def told(self) -> str:
        """What, and why where that is known, in one line."""
        return f"{self.what}: {self.why}" if self.why else self.what


class NotApprovedError(ManifestdError):
    """A rule about approvals does not hold; the hint names who can help."""

    code = "not-approved"
    exit_code = 1


class UsageError(ManifestdError):
    """The command was used wrongly."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """``manifestd.toml`` or a setting of the environment is not usable."""

    code = "config-invalid"


class AmbiguousError(UsageError):
    """A short reference names several things; ``facts["candidates"]`` lists them."""

    code = "ambiguous-reference"


class MissingExtraError(UsageError):
    """An optional library is not installed; the hint says how to install it."""

    code = "extra-missing"


class UndecidedError(ManifestdError):
    """The question could not be decided."""

    code = "undecided"
    exit_code = 3


class SourceNotFoundError(UndecidedError):
    """The repository, bucket, directory or revision does not exist (or is hidden)."""

    code = "source-not-found"


class NotStoredError(UndecidedError):
    """The store holds nothing under this reference."""

    code = "not-stored"


class AccessDeniedError(UndecidedError):
    """The source refused access: gated, private, forbidden, archived, encrypted."""

    code = "access-denied"


class UnreachableError(UndecidedError):
    """The source did not answer, or answered with server errors until the budget ended."""

    code = "source-unreachable"


class TransientError(UnreachableError):
    """A connection broke or a server asked to wait: the same request may succeed later.

    Sources raise it, the read loop catches it; it reaches users only as its parent.

    Attributes:
        retry_after: Seconds the server asked to wait, None when it did not say.
        throttled: The server said that we are too fast (429, SlowDown).
    """

    def __init__(
        self, what: str, *, retry_after: float | None = None, throttled: bool = False, **parts: Any
    ) -> None:
        super().__init__(what, **parts)
        self.retry_after = retry_after
        self.throttled = throttled


class RateLimitedError(UndecidedError):
    """The source asked us to slow down for longer than the budget allows."""

    code = "rate-limited"


class ChangedError(UndecidedError):
    """The object changed between listing and reading, or while it was read."""

    code = "changed-while-reading"


class UnreadableError(UndecidedError):
    """The bytes cannot be read or are not the content (special file, LFS pointer, gap)."""

    code = "unreadable"


class EmptySourceError(UndecidedError):
    """The place exists and holds no file: nothing can be said about nothing."""

    code = "source-empty"


class StoreLockedError(UndecidedError):
    """Another process holds the store's write lock."""

    code = "store-locked"


class NotVerifiedError(ManifestdError):
    """Something does not verify."""

    code = "not-verified"
    exit_code = 4


class MismatchError(NotVerifiedError):
    """Content does not have the digest that was declared or recorded."""

    code = "digest-mismatch"


class SignatureError(NotVerifiedError):
    """A signature is wrong for the bytes it claims to cover."""

    code = "signature-invalid"


class UntrustedError(NotVerifiedError):
    """The signature is right, the key is not one that counts here."""

    code = "key-untrusted"


class UnsignedError(NotVerifiedError):
    """A signature was required and there is none."""

    code = "unsigned"


class NotCanonicalError(NotVerifiedError):
    """One of our own documents is not in canonical form."""

    code = "not-canonical"


class MalformedError(NotVerifiedError):
    """A document cannot be understood: wrong shape, too deep, too large, newer version."""

    code = "malformed"


class TamperedError(NotVerifiedError):
    """The store's content does not match its digests or its signed documents."""

    code = "store-tampered"
