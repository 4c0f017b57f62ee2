"""Apprise tells, without hosts that may not be told and without showing tokens."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import ClassVar

import apprise
import pytest

from manifestd.errors import AccessDeniedError, UndecidedError
from manifestd.notifiers import notifier_for
from manifestd.notifiers.base import Channel
from tests.contracts.notifier_suite import TOKEN, NotifierSuite, message
from tests.notifiers.receiver import Receiver, receiver


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as state:
        state.status = 200
        yield state


class TestApprise(NotifierSuite):
    name: ClassVar[str] = "apprise"

    @pytest.fixture(autouse=True)
    def _receiver(self, hook: Receiver) -> None:
        self.hook = hook

    def works(self) -> Channel:
        return Channel(url=f"json://127.0.0.1:{self.hook.port}/", allow_private=True)

    def refuses(self) -> Channel:
        self.hook.status = 500
        url = f"json://user:{TOKEN}@127.0.0.1:{self.hook.port}/{TOKEN}"
        return Channel(url=url, allow_private=True)

    def nonsense(self) -> list[Channel]:
        return [
            Channel(url=f"slak://{TOKEN}"),
            Channel(url=f"slack://{TOKEN}!"),
            Channel(url=f"://{TOKEN}"),
        ]

    def arrived(self) -> list[str]:
        return [body.decode() for _, _, body in self.hook.posts]


def test_title_body_and_kind_arrive_as_they_are(hook: Receiver) -> None:
    body = "FAIL a\u2039b\u203a & *c*"
    notifier_for(Channel(url=f"json://127.0.0.1:{hook.port}/", allow_private=True)).tell(
        message(body=body)
    )
    sent = json.loads(hook.posts[0][2])
    assert (sent["title"], sent["message"], sent["type"]) == (
        message().title, body, "failure",
    )  # fmt: skip


def test_a_redirect_is_not_followed(hook: Receiver) -> None:
    hook.status = 307
    hook.headers["location"] = f"http://127.0.0.1:{hook.port}/elsewhere"
    found = notifier_for(Channel(url=f"json://127.0.0.1:{hook.port}/", allow_private=True))
    with pytest.raises(Exception, match="did not take"):
        found.tell(message())
    assert [path for path, _, _ in hook.posts] == ["/"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1"])
def test_a_host_of_the_house_needs_leave(hook: Receiver, host: str) -> None:
    with pytest.raises(AccessDeniedError, match="private"):
        notifier_for(Channel(url=f"json://{host}:{hook.port}/")).tell(message())
    assert hook.posts == []


def test_metadata_is_refused_whatever_is_allowed() -> None:
    with pytest.raises(AccessDeniedError, match="credentials"):
        notifier_for(Channel(url="json://169.254.169.254/", allow_private=True)).tell(message())


def test_a_token_in_the_place_of_a_host_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "manifestd.notifiers.apprise.resolve", lambda host, *_, **__: asked.append(host)
    )
    monkeypatch.setattr(apprise.Apprise, "notify", lambda *_, **__: True)
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general"
    notifier_for(Channel(url=url)).tell(message())
    assert asked == []


def test_apprise_s_own_log_which_holds_urls_goes_nowhere(
    hook: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    hook.status = 500
    url = f"json://user:{TOKEN}@127.0.0.1:{hook.port}/{TOKEN}"
    with pytest.raises(UndecidedError):
        notifier_for(Channel(url=url, allow_private=True)).tell(message())
    assert not [record for record in caplog.records if record.name.startswith("apprise")]
    assert TOKEN not in "".join(capfd.readouterr())
