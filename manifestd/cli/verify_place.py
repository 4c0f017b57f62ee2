"""``verify --lock`` and ``verify --receipt``: what a consumer checks, without a store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from manifestd.cli.context import Context
from manifestd.cli.named_file import naming, read_named
from manifestd.cli.output import emit, emit_json
from manifestd.display import printable
from manifestd.errors import UsageError

if TYPE_CHECKING:
    from manifestd.model.entry import Problem
    from manifestd.model.lockfile import LockCheck
    from manifestd.model.receipt import ReceiptCheck


def verify_lock(
    context: Context,
    path: Path,
    places: tuple[str, ...],
    *,
    name: str | None,
    allow_subset: bool,
    jobs: int | None,
    form: str,
) -> int:
    """Check a directory against a lock file.

    Raises:
        UsageError: Not one directory is named.
    """
    from manifestd.cli.progress import progress
    from manifestd.model.lockfile import MAX_LOCK, decode_lock
    from manifestd.workflows.lock_check import check_lock, choose_model

    if len(places) != 1:
        raise UsageError("one directory is needed", hint="write: manifestd verify --lock FILE PATH")
    with naming(path, "a lock file is made by `manifestd lock REF -o FILE`"):
        locked = decode_lock(read_named(path, MAX_LOCK))
    model = choose_model(locked, name)
    found = check_lock(
        model,
        places[0],
        allow_subset=allow_subset,
        jobs=jobs,
        own_outputs=(*context.own_outputs(), str(path.absolute())),
        progress=partial(progress, quiet=context.quiet or form == "json"),
    )
    if form == "json":
        emit_json(found)
    elif not (context.quiet and found.verified):
        emit("".join(f"{line}\n" for line in _lock_lines(found)))
    return found.exit_code


def verify_receipt(context: Context, path: Path, places: tuple[str, ...], form: str) -> int:
    """Check a receipt, and that nothing was written at its place since.

    Raises:
        UsageError: More than one place is named.
    """
    from manifestd.signing.dsse import MAX_BUNDLE
    from manifestd.workflows.receipt import check_receipt

    if len(places) > 1:
        raise UsageError("a receipt is for one place")
    trust = context.trust()
    with naming(path, "a receipt is made by `manifestd gate NAME:TAG PLACE --receipt FILE`"):
        found = check_receipt(
            read_named(path, MAX_BUNDLE),
            trust,
            datetime.now(UTC),
            place=places[0] if places else None,
            own_outputs=(*context.own_outputs(), str(path.absolute())),
        )
    if form == "json":
        emit_json(found)
    elif not (context.quiet and found.verified):
        emit("".join(f"{line}\n" for line in _receipt_lines(found)))
    return found.exit_code


def _lock_lines(found: LockCheck) -> Iterator[str]:
    count = f"{found.matching} of {found.locked}"
    words = {
        "whole": f"verified: all {found.locked} files are those of the lock file"
        if found.locked > 1
        else "verified: the one file is that of the lock file",
        "subset": f"subset: {count} files, the others are not there",
        "different": f"NOT VERIFIED: {count} files are those of the lock file",
        "unknown": f"not decided: {count} files are those of the lock file",
    }
    at = f" at {found.revision}" if found.revision else ""
    yield words[found.result]
    yield printable(f"  model     {found.name}, {found.source}{at}")
    yield f"  manifest  {found.manifest}"
    yield printable(f"  place     {found.place}")
    for path in found.missing:
        yield printable(f"  missing   {path}")
    yield from _problems(found.problems)
    if found.more:
        yield f"  … and {found.more} more"
    if found.result == "subset" and not found.verified:
        yield "  hint: if a part is meant to be enough, say --allow-subset"


def _receipt_lines(found: ReceiptCheck) -> Iterator[str]:
    if found.verified:
        yield printable(f"verified: {found.place} passed the gate {found.tag}")
    else:
        yield printable(
            f"NOT VERIFIED: the receipt of {found.tag} does not cover {found.place} now"
        )
    yield f"  manifest  {found.manifest}"
    yield printable(f"  receipt   by {found.by} at {found.at[:19]}Z, until {found.expires[:19]}Z")
    if found.files:
        yield f"  files     {found.files} looked at, none read"
    yield from _problems(found.problems)


def _problems(problems: list[Problem]) -> Iterator[str]:
    hints: dict[str, None] = {}
    for problem in problems:
        where = f"{problem.path}: " if problem.path else ""
        yield printable(f"  {where}{problem.what}")
        if problem.hint:
            hints[problem.hint] = None
    yield from (printable(f"  hint: {hint}") for hint in hints)
