"""Moments and spans of time as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from manifestd.errors import UsageError


def parse_moment(text: str) -> datetime:
    """A date or time that somebody typed; a bare date is the end of that day, UTC.

    Raises:
        UsageError: Neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"not a date or time: {text!r}", hint="write 2026-03-01 or 2026-03-01T10:00:00Z"
        ) from error
    if "T" not in text and " " not in text:
        moment = datetime.combine(moment.date(), time.max, UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def parse_day(text: str) -> datetime:
    """As :func:`parse_moment`, but a bare date is the beginning of that day, UTC.

    Raises:
        UsageError: Neither a date nor a time.
    """
    moment = parse_moment(text)
    whole_day = "T" not in text and " " not in text
    return datetime.combine(moment.date(), time.min, UTC) if whole_day else moment


def parse_span(text: str) -> timedelta:
    """A span of time that somebody typed: ``36h``, ``90d``, ``4w``.

    Raises:
        UsageError: Something else.
    """
    hours = {"h": 1, "d": 24, "w": 168}.get(text[-1:])
    if hours is None or not text[:-1].isascii() or not text[:-1].isdigit() or len(text) > 6:
        raise UsageError(f"not a span of time: {text!r}", hint="write 36h, 90d or 4w")
    return timedelta(hours=int(text[:-1]) * hours)
