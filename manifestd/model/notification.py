"""Notifications: what is new and what is solved since a channel was told last (``manifestd.notification/v1``)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from manifestd.model.change import Result
from manifestd.model.run import Run, RunCounts
from manifestd.model.snapshot import Timestamp

SCHEMA_NOTIFICATION: Final = "manifestd.notification/v1"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is told once when it appears and once when it is solved.

    Attributes:
        model: As configured; empty for what is about the run itself.
        kind: ``run``: a ``[[select]]`` that could not be asked, so that models may be missing;
            ``side`` and ``model``: an error; ``problem``: content that contradicts its
            declared digest; ``file``, ``demand``: of a comparison;
            ``policy``: an objection; ``result``: a model that does not pass for no reason of
            its own; ``pass``: a model that began to pass, for channels that want to know.
        side: The side it is about; empty for the whole model.
        path: The file, or None.
        rule: Verdict, error code or the policy's key.
        result: Its part in the model's result.
        what: One line for people.
        hint: One action, if there is one.
    """

    model: str
    kind: Literal["run", "side", "model", "problem", "file", "demand", "policy", "result", "pass"]
    side: str
    path: str | None
    rule: str
    result: Result
    what: str
    hint: str | None


class Notification(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a webhook posts and a program gets on its input.

    Attributes:
        run_id: The run that found it.
        started_at: When that run started.
        finished_at: When it ended.
        result: The worst of what is new; ``pass`` when all of it is solved.
        exit_code: The run's.
        counts: Models of the run by result.
        new: What this channel was not told before, at most 1,000.
        solved: What it was told and is no more, at most 1,000.
        more_new: How many are new besides.
        more_solved: How many are solved besides.
        run: The whole run, for programs; None in webhooks.
    """

    schema: Literal["manifestd.notification/v1"] = SCHEMA_NOTIFICATION
    run_id: str
    started_at: Timestamp
    finished_at: Timestamp
    result: Result
    exit_code: int
    counts: RunCounts
    new: list[Notice]
    solved: list[Notice]
    more_new: int = 0
    more_solved: int = 0
    run: Run | None = None
