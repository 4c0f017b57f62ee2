"""What every notifier promises: one message out, within a time, or an error without secrets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Final

import msgspec

from manifestd.model.change import Result

SECONDS: Final = 30.0
"""How long one message may take, all in all."""


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """Where to tell: one ``[[notify]]`` of the configuration, its variables filled in.

    Attributes:
        url: A secret: it may hold tokens. Never shown.
        secret: What webhooks are signed with.
        allow_private: Loopback and private addresses may be connected to.
    """

    url: str
    secret: str | None = None
    allow_private: bool = False


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What to tell.

    Attributes:
        title: One line of plain text.
        body: Some lines of plain text; no character in it acts.
        result: The worst of what is told; ``pass`` when all of it is solved.
        document: The ``manifestd.notification/v1`` document, as JSON, without the run.
        whole: The same with the run, in pieces to be taken once, for who wants it.
        identity: The same for the same message told again; receivers may drop repetitions.
        sent_at: Seconds since 1970.
    """

    title: str
    body: str
    result: Result
    document: bytes
    identity: str
    sent_at: int
    whole: Iterable[bytes] | None = None


class Notifier(ABC):
    """Tells one channel.

    Attributes:
        name: Its name in the table.
        wants_run: It takes the document with the whole run, which may be large.
    """

    name: ClassVar[str]
    wants_run: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, channel: Channel) -> None:
        """Take the channel's address apart.

        Raises:
            ConfigError: It cannot be used. The message never holds the URL.
        """

    def check(self, *, look_up: bool) -> None:  # noqa: B027  (most have nothing to add)
        """Find out what is wrong without telling anybody; construction found the rest.

        Args:
            look_up: Host names may be looked up.

        Raises:
            UnreachableError: A host name does not resolve now, which may pass.
            ManifestdError: The channel could not be told, today or ever.
        """

    @abstractmethod
    def tell(self, message: Message) -> None:
        """Deliver one message.

        Raises:
            UndecidedError: It was not delivered, with a reason that holds no secret.
        """
