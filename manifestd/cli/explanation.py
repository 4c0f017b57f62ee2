"""The explanation of ``snapshot s3 --explain`` as people read it."""

from __future__ import annotations

import shlex

from manifestd.cli.output import table
from manifestd.display import printable, size_text
from manifestd.model.explanation import Advice, Explanation, Standing


def explanation_text(found: Explanation) -> str:
    """What is known, object by object, and what it takes to know more; ends in a newline."""
    count = f"{found.objects} object{'s' if found.objects != 1 else ''}"
    head = f"{printable(found.source)}: {count}, {size_text(found.size)}; "
    lines = [
        head + f"nothing was read, {found.asked} requests were made",
        "",
        table(map(_standing, found.standings), ("KNOWN", "OBJECTS", "SIZE", "GOOD FOR", "BETTER")),
        table(map(_advice, found.advice), ("PATH", "SIZE", "KNOWN", "GRADE", "BETTER")).rstrip(
            "\n"
        ),
    ]
    if found.more_advice:
        lines.append(f"… and {found.more_advice} more")
    lines += ["", *_closing(found)]
    return "\n".join(lines) + "\n"


def _standing(one: Standing) -> tuple[str, ...]:
    return one.best, str(one.objects), size_text(one.size), one.says, _better(one)


def _advice(one: Advice) -> tuple[str, ...]:
    return one.path, size_text(one.size), one.best, one.grade, _better(one)


def _better(one: Advice | Standing) -> str:
    if not one.how:
        return "nothing to gain"
    return f"{one.how} ({_price(one.requests, one.bytes)})" if one.requests else one.how


def _closing(found: Explanation) -> list[str]:
    if found.command is None:
        return ["Every object has a sha256 that S3 vouches for: a snapshot reads nothing for it."]
    price = _price(found.requests, found.bytes)
    reading = f"`manifestd snapshot s3 {printable(shlex.quote(found.source))}`"
    return [
        f"A sha256 of every readable object takes {price} ({reading}),",
        "or no byte with this batch job, whose report `--checksums REPORT` then takes",
        "(fill in the words in capitals):",
        "",
        printable(found.command),
    ]


def _price(requests: int, size: int) -> str:
    return f"{requests} request{'s' if requests != 1 else ''}, {size_text(size)}"
