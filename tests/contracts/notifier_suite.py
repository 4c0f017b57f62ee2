"""What every notifier promises: it tells, it fails aloud and in time, and it keeps secrets."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from manifestd.errors import ManifestdError
from manifestd.notifiers import NOTIFIERS, notifier_for
from manifestd.notifiers.base import Channel, Message, Notifier

TOKEN = "tok3n-THAT-must-never-be-shown"


def message(**more: object) -> Message:
    """A message; give other values by keyword."""
    values: dict[str, object] = {
        "title": "manifestd: 1 new; 0 of 1 models passed",
        "body": "FAIL acme/drift: mirror: config.json: 2 keys changed",
        "result": "fail",
        "document": b'{"schema":"manifestd.notification/v1"}',
        "identity": "msg_0123",
        "sent_at": 1_772_000_000,
    }
    return msgspec.convert({**values, **more}, Message)


class NotifierSuite:
    """The promise of the family; a member's test subclasses it."""

    name: ClassVar[str]

    def works(self) -> Channel:
        """A channel that takes messages."""
        raise NotImplementedError

    def arrived(self) -> list[str]:
        """Texts that arrived there, in order; each holds a title, a body or a document."""
        raise NotImplementedError

    def refuses(self) -> Channel:
        """A channel that takes nothing; its URL or secret holds :data:`TOKEN`."""
        raise NotImplementedError

    def nonsense(self) -> list[Channel]:
        """Channels of its kind that cannot be used; each holds :data:`TOKEN`."""
        raise NotImplementedError

    def made(self, channel: Channel) -> Notifier:
        return notifier_for(channel)

    def test_its_url_finds_it(self) -> None:
        notifier = self.made(self.works())
        assert type(notifier) is NOTIFIERS.load(self.name)
        assert notifier.name == self.name

    def test_what_is_told_arrives_once(self) -> None:
        self.made(self.works()).tell(message())
        [text] = self.arrived()
        assert "config.json" in text or "manifestd.notification/v1" in text

    def test_making_it_tells_nobody(self) -> None:
        self.made(self.works())
        assert self.arrived() == []

    def test_one_can_tell_many_times(self) -> None:
        notifier = self.made(self.works())
        notifier.tell(message())
        notifier.tell(message(identity="msg_2"))
        assert len(self.arrived()) == 2

    def test_a_refusal_is_an_error_without_secrets(self) -> None:
        with pytest.raises(ManifestdError) as caught:
            self.made(self.refuses()).tell(message())
        assert caught.value.exit_code == 3
        self._keeps_the_secret(caught.value)

    def test_a_url_that_cannot_be_used_is_refused_without_being_shown(self) -> None:
        for channel in self.nonsense():
            with pytest.raises(ManifestdError) as caught:
                self.made(channel)
            assert caught.value.exit_code == 2
            self._keeps_the_secret(caught.value)

    @staticmethod
    def _keeps_the_secret(error: ManifestdError) -> None:
        shown = f"{error.what} {error.why} {error.hint} {error.facts}"
        assert TOKEN not in shown
