"""botocore's session and its clients, for one bucket or for all of a run; credentials renewed once.

Making a client takes some 50 ms of CPU, as much as a hundred listings.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

import botocore
import botocore.session
from botocore.config import Config
from botocore.utils import parse_timestamp

from manifestd._version import TOOL
from manifestd.redact import redact
from manifestd.sources.base import Shared, SourceSettings
from manifestd.sources.s3_errors import FAULTS, no_credentials, translate
from manifestd.sources.s3_options import S3Options

HEAD_THREADS: Final = 16
"""HEADs in flight: their cost is the round trip, which on a real network dwarfs the CPU's."""

_FULL_BUDGET: Final = 60.0
_ATTEMPTS: Final = 10
_NO_REGION: Final = "us-east-1"
"""What botocore takes for the region when none is set."""
_SHARED_POOL: Final = 64
"""Idle connections that a session for many sources keeps."""


def quick_timestamp(value: Any) -> datetime:
    """Parse a time as S3's listings write it; anything else as botocore does.

    botocore asks dateutil, which takes 63 % of the time of a whole listing.
    """
    if isinstance(value, str) and value[10:11] == "T":
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            if moment.tzinfo is not None:
                return moment
    found: datetime = parse_timestamp(value)
    return found


def _credentials(session: Any) -> Any:
    """The session's credentials, None if there are none.

    Raises:
        AccessDeniedError: The program that AWS's configuration names gave none.
    """
    try:
        return session.get_credentials()
    except (ValueError, KeyError, OSError) as error:  # it is not there, or prints something else
        raise no_credentials(redact(str(error))[:300]) from error


class Clients(NamedTuple):
    """What one set of credentials gives.

    Attributes:
        generation: How many times credentials were renewed.
        retrying: The client for ordinary requests.
        once: One that never retries.
        credentials: What they sign with, None for anonymous.
    """

    generation: int
    retrying: Any
    once: Any
    credentials: Any


class Session:
    """Clients with equal settings. Thread-safe.

    Args:
        options: S3's own settings.
        settings: Timeouts, retry budget and number of readers.
        bucket: Whom errors speak of.
        pool: Idle connections to keep.

    Attributes:
        clients: Those in use.
        proven: Something worked since they were made.
    """

    def __init__(
        self, options: S3Options, settings: SourceSettings, bucket: str, pool: int = 0
    ) -> None:
        self._options = options
        self._settings = settings
        self._pool = pool
        self._lock = threading.Lock()
        self._asking = threading.local()
        self.proven = True
        self.clients = self._open(0, bucket)

    def _open(self, generation: int, bucket: str) -> Clients:
        try:
            core = botocore.session.get_session()
            core.get_component("response_parser_factory").set_parser_defaults(
                timestamp_parser=quick_timestamp
            )
            credentials = None if self._options.anonymous else _credentials(core)
            # Set to nothing, as pipelines do with variables they lack, botocore signs for it.
            region = core.get_config_variable("region") or _NO_REGION
            retrying, once = (
                core.create_client("s3", region, config=self._config(attempts=attempts))
                for attempts in (self._attempts(), 1)
            )
        except FAULTS as error:
            raise translate(error, bucket) from error
        for client in (retrying, once):
            client.meta.events.register("before-send.s3", self._note_request)
        return Clients(generation, retrying, once, credentials)

    def _attempts(self) -> int:
        """Ten tries within a full budget, fewer within a small one, never none."""
        share = min(1.0, self._settings.retry_budget / _FULL_BUDGET)
        return max(1, round(_ATTEMPTS * share))

    def _config(self, *, attempts: int) -> Any:
        style = self._options.addressing_style
        return Config(
            retries={"mode": "adaptive", "total_max_attempts": attempts},
            max_pool_connections=max(self._settings.jobs, HEAD_THREADS, self._pool) + 2,
            connect_timeout=self._settings.connect_timeout,
            read_timeout=self._settings.read_timeout,
            tcp_keepalive=True,
            signature_version=botocore.UNSIGNED if self._options.anonymous else None,
            user_agent_extra=TOOL,
            s3={"addressing_style": style} if style else None,
            # Whole reads ask for the checksum themselves; some servers echo the whole
            # object's checksum on ranges, which would make every resumed read fail.
            response_checksum_validation="when_required",
            request_checksum_calculation="when_required",
        )

    def ask(
        self, client: Any, operation: str, note: Callable[[Any], None], **arguments: Any
    ) -> Any:
        """Ask for an operation; ``note`` is told of every request that is sent for it."""
        self._asking.note = note
        try:
            return getattr(client, operation)(**arguments)
        finally:
            self._asking.note = None

    def _note_request(self, request: Any, **_: Any) -> None:
        note = getattr(self._asking, "note", None)
        if note is not None:
            note(request)

    def renew(self, generation: int, bucket: str) -> bool:
        """Make clients anew; False if that was done for these and brought nothing."""
        with self._lock:
            if self.clients.generation != generation:
                return True
            if not self.proven:
                return False
            self.proven = False
            old, self.clients = self.clients, self._open(generation + 1, bucket)
        for client in (old.retrying, old.once):
            client.close()
        return True

    def close(self) -> None:
        """Close all connections. May be called twice."""
        self.clients.retrying.close()
        self.clients.once.close()


def session_for(
    bucket: str, options: S3Options, settings: SourceSettings, shared: Shared | None
) -> Session:
    """The session of a run for these settings, or a new one.

    Raises:
        ManifestdError: The AWS configuration is not usable.
    """
    if shared is None:
        return Session(options, settings, bucket)
    key = (
        "s3", options.anonymous, options.addressing_style, settings.jobs,
        settings.connect_timeout, settings.read_timeout, settings.retry_budget,
    )  # fmt: skip
    return shared.get(key, lambda: Session(options, settings, bucket, _SHARED_POOL))
