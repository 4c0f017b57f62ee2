"""Telling people what a run found: each channel once of what is new, once of what is solved.

A channel that fails is logged and changes nothing: it was not told, so the next run tells it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from manifestd.errors import ManifestdError
from manifestd.model.change import Result
from manifestd.model.notification import Notice, Notification
from manifestd.model.run import RESULTS, Run
from manifestd.model.run_view import RunView, document_pieces
from manifestd.redact import redact
from manifestd.reports.escape import shorten, visible
from manifestd.reports.run_telling import run_headline
from manifestd.store import Store
from manifestd.workflows.news import Memo, News, news_of
from manifestd.workflows.select import asked_for

if TYPE_CHECKING:
    from manifestd.config import Config
    from manifestd.config.shape import Notify
    from manifestd.notifiers.base import Message, Notifier

_log: Final = logging.getLogger(__name__)

MOST: Final = 1000
"""Notices of each kind in a document; those besides are counted."""
_SHOWN: Final = 20
_LINE: Final = 300
# What Discord and others take for a call to everybody, wherever it stands, or to a person.
_MENTION: Final = re.compile(r"(?<!\w)@|@(?=everyone|here|channel|all)", re.IGNORECASE)
# Opens a tag in mails and a call in Slack and Discord; closing ones are only arrows then.
_BRACKETS: Final = {ord("<"): "\u2039"}
_MEMO: Final = msgspec.json.Decoder(Memo)


def notify_run(
    store: Store,
    config: Config,
    run: RunView,
    environ: Mapping[str, str],
    *,
    clock: Callable[[], float] = time.time,
) -> int:
    """Tell every ``[[notify]]`` channel what it has not been told. Never raises, never waits long.

    Args:
        store: Open for writing; keeps what was told.
        config: Names the channels.
        run: What was found.
        environ: Fills the variables of their URLs and secrets.
        clock: Seconds since 1970, for the timestamps of webhooks.

    Returns:
        How many messages were delivered.
    """
    told = 0
    selects = [asked_for(entry) for entry in config.select]
    for number, channel in enumerate(config.notify, 1):
        scheme = channel.url.partition("://")[0]
        label = f"notify {number} ({shorten(visible(redact(scheme)), 30)})"
        try:
            told += _tell(store, channel, run, selects, environ, clock=clock)
        except ManifestdError as error:
            why = f" ({error.why})" if error.why else ""
            hint = f"; {error.hint}" if error.hint else ""
            _log.warning("%s was not told: %s%s%s", label, error.what, why, hint)
        except Exception as error:  # whatever a plugin does, the run's result stands
            _log.warning("%s was not told: %s", label, type(error).__name__)
    return told


def channel_id(channel: Notify) -> str:
    """Under what the store remembers a channel; a new URL is a new channel."""
    return hashlib.sha256(channel.url.encode()).hexdigest()[:32]


def _tell(
    store: Store,
    channel: Notify,
    run: RunView,
    selects: list[dict[str, Any]],
    environ: Mapping[str, str],
    *,
    clock: Callable[[], float],
) -> bool:
    from manifestd.notifiers import notifier_for
    from manifestd.notifiers.base import Channel

    name = channel_id(channel)
    told = {key: _MEMO.decode(data) for key, data in store.notified.load(name).items()}
    news = news_of(run, told, channel.on, selects)
    if news.new or news.solved:
        notifier = notifier_for(
            Channel(
                url=channel.expanded_url(environ),
                secret=channel.expanded_secret(environ),
                allow_private=channel.allow_private,
            )
        )
        notifier.tell(_message(run, news, notifier, name, int(clock())))
    elif not news.gone:
        return False
    remembered = {key: msgspec.json.encode(memo) for key, memo in news.new.items()}
    store.notified.update(name, remembered, [*news.solved, *news.gone])
    return bool(news.new or news.solved)


def _message(run: RunView, news: News, notifier: Notifier, channel: str, now: int) -> Message:
    from manifestd.notifiers.base import Message

    new = [memo.notice for memo in news.new.values()]
    solved = list(news.solved.values())
    worst = {notice.result for notice in new}
    result: Result = next((kind for kind in RESULTS if kind in worst), "pass")
    head = run.head
    document = msgspec.json.encode(
        Notification(
            run_id=head.run_id,
            started_at=head.started_at,
            finished_at=head.finished_at,
            result=result,
            exit_code=head.exit_code,
            counts=head.counts,
            new=new[:MOST],
            solved=solved[:MOST],
            more_new=max(0, len(new) - MOST),
            more_solved=max(0, len(solved) - MOST),
        )
    )
    counted = [f"{len(new)} new" if new else "", f"{len(solved)} solved" if solved else ""]
    title = ", ".join(filter(None, counted))
    return Message(
        title=f"manifestd: {title}; {run_headline(head)}",
        body="\n".join(_lines(new, solved, head)),
        result=result,
        document=document,
        whole=_whole(document, run) if notifier.wants_run else None,
        identity="msg_" + hashlib.sha256(f"{channel} {head.run_id}".encode()).hexdigest()[:32],
        sent_at=now,
    )


def _whole(document: bytes, run: RunView) -> Iterator[bytes]:
    """The document with the whole run in its last field, a model at a time."""
    assert document.endswith(b"null}")
    yield document[:-5]
    yield from document_pieces(run)
    yield b"}"


def _lines(new: list[Notice], solved: list[Notice], head: Run) -> Iterable[str]:
    for notice in new[:_SHOWN]:
        hint = f" ({notice.hint})" if notice.hint else ""
        yield _line(notice.result.upper(), notice, notice.what + hint)
    if len(new) > _SHOWN:
        yield f"and {len(new) - _SHOWN} more"
    for notice in solved[:_SHOWN]:
        # What is about the run itself has no place but in its words.
        what = f": {notice.what}" if notice.kind == "run" else ""
        yield _line("SOLVED", notice, f"was {notice.rule}{what}")
    if len(solved) > _SHOWN:
        yield f"and {len(solved) - _SHOWN} more solved"
    yield f"run {head.run_id}, started {head.started_at[:19]}Z"


def _line(word: str, notice: Notice, what: str) -> str:
    parts = [notice.model, notice.side, notice.path or "", what]
    return f"{word} " + shorten(": ".join(_calm(part) for part in parts if part), _LINE)


def _calm(text: str) -> str:
    """A text in which nothing calls people or is markup, in the chats and mails of this world."""
    text = visible(redact(text)).translate(_BRACKETS)
    return _MENTION.sub("@\u2060", text)
