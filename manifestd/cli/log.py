"""Messages to people on stderr: plain lines, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from manifestd.cli.workflow_commands import guarded
from manifestd.display import printable
from manifestd.redact import redact

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, and what the call put in ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; every text is redacted."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for key, value in vars(record).items():
            if key not in _PLAIN:
                document[key] = redact(value) if isinstance(value, str) else value
        return json.dumps(document, default=str, ensure_ascii=False)


class PlainLines(logging.Formatter):
    """The message alone, redacted and safe for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; warnings and errors say so."""
        text = "\n".join(printable(redact(line)) for line in record.getMessage().splitlines())
        return f"{record.levelname.title()}: {text}" if record.levelno >= logging.WARNING else text


class _Stderr(logging.StreamHandler[Any]):
    """Writes to whatever ``sys.stderr`` is now; tests and progress bars replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        """Format one record; where GitHub reads it, nothing in it is a command."""
        return guarded(super().format(record), sys.stderr)


def writes_json() -> bool:
    """Whether every line on stderr is to be a JSON object."""
    handlers = logging.getLogger("manifestd").handlers
    return any(isinstance(handler.formatter, JsonLines) for handler in handlers)


def tell(text: str, level: int = logging.INFO, **facts: Any) -> None:
    """Write one line of :class:`JsonLines`, whatever level is wanted of others."""
    logger = logging.getLogger("manifestd")
    record = logger.makeRecord(logger.name, level, "", 0, text, (), None, extra=facts)
    logger.handle(record)


def configure(*, quiet: bool, verbose: bool, log_format: str) -> None:
    """Point the ``manifestd`` logger (and only it) at stderr, whether somebody reads it or not."""
    logger = logging.getLogger("manifestd")
    handler = _Stderr()
    handler.setFormatter(JsonLines() if log_format == "json" else PlainLines())
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
