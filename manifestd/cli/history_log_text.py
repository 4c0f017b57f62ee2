"""The history as people read it: entries of the log, tags as of a time, what checking found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from manifestd.cli.output import table
from manifestd.display import printable
from manifestd.model.digest import short

if TYPE_CHECKING:
    from manifestd.model.history import AsOf, LogList, LogVerification
    from manifestd.model.logentry import LogEntry

_RESULTS = ("pass", "fail", "unknown", "error")


def list_text(found: LogList) -> str:
    """Entries of the log, and what it is as a whole; ends in a newline."""
    header = ("ENTRY", "LOGGED", "KIND", "DOCUMENT", "ABOUT")
    lines = [
        (str(one.index), one.at[:19] + "Z", one.kind, digest_cell(one.document), _about(one))
        for one in found.entries
    ]
    nothing = "No entry is of that kind or about that tag.\n" if found.size else ""
    shown = table(lines, header) if lines else nothing
    return f"{shown}{found.size} entries, root {found.root}\n"


def as_of_text(then: AsOf) -> str:
    """What every tag named then; ends in a newline."""
    header = ("TAG", "SNAPSHOT", "MANIFEST", "SINCE", "SET BY", "SIGNATURE", "SOURCE")
    lines = []
    for named in then.tags:
        state = named.state
        signers = f" ({', '.join(named.signed_by)})" if named.signed_by else ""
        revision = f"@{named.revision[:12]}" if named.revision else ""
        lines.append(
            (
                state.tag,
                state.snapshot or "-",
                digest_cell(state.manifest),
                state.since[:19] + "Z",
                who_cell(state.by, state.signature),
                f"{named.signature}{signers}",
                f"{named.source}{revision}" if named.source else "removed since",
            )
        )
    shown = table(lines, header) if lines else "No tag named anything then.\n"
    return f"{shown}as of {then.at}, by {then.entries} entries of the log\n"


def verification_text(found: LogVerification) -> str:
    """What holding the log against a checkpoint found; the last line is the answer."""
    return "".join(f"{line}\n" for line in _verification(found))


def digest_cell(digest: str | None) -> str:
    """A digest in a table, shortened."""
    return short(digest) if digest else "-"


def who_cell(by: str, signature: str) -> str:
    """Who did it, with what is wrong with the signature."""
    return by if signature == "verified" else f"{by} ({signature.upper()})"


def _about(entry: LogEntry) -> str:
    """The facts of an entry in one cell: digests shortened, who at the end."""
    to = entry.fact("snapshot")
    words = [entry.tag or entry.fact("name") or ""]
    if entry.kind == "tag":
        words.append(f"-> {digest_cell(to)}" if to else "deleted")
    elif entry.kind == "snapshot":
        words.append(entry.fact("source") or "")
    elif to is not None:
        words.append(f"of {digest_cell(to)}")
    if (run := entry.fact("run")) is not None:
        counts = (f"{number} {word}" for word in _RESULTS if (number := entry.facts.get(word)))
        words.append(f"run {run}: {', '.join(counts) or 'no model'}")
    verdict, by = entry.fact("verdict"), entry.fact("by")
    words += [verdict] if verdict else []
    words += [f"by {by}"] if by else []
    return " ".join(filter(None, words))


def _verification(found: LogVerification) -> Iterator[str]:
    if found.checkpoint is not None:
        seen = found.checkpoint
        yield f"checkpoint  {printable(seen.origin)}, {seen.size} entries, root {seen.root}"
        yield f"signed by   {printable(', '.join(seen.signed_by))}"
    if found.entry is not None:
        entry = found.entry
        yield f"proved      entry {entry.index}: {entry.kind} {printable(_about(entry))}"
        yield f"document    {entry.document}"
        yield f"logged      {entry.at}"
    if found.size is not None:
        yield f"log         {found.size} entries, root {found.root}"
    for problem in found.problems:
        code = "Note" if problem.severity == "note" else problem.code
        yield f"{code}: {printable(problem.what)}"
        if problem.hint:
            yield f"  hint: {printable(problem.hint)}"
    if not found.verified:
        yield "NOT VERIFIED"
    elif found.checkpoint is None:
        yield "verified: the store agrees with itself; only a kept checkpoint can show more"
    else:
        yield "verified"
