"""What approvers and those who wait for them read: requests and who is missing, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from manifestd.display import printable, size_text

if TYPE_CHECKING:
    from manifestd.model.approvals import ApprovalRequest, ApprovalStatus, SeatsState


def request_text(request: ApprovalRequest) -> str:
    """A request as people read it before they sign. Every name in it is hostile input."""
    return "\n".join(_request(request))


def status_text(status: ApprovalStatus) -> str:
    """Who approved, who is missing; ends in a newline."""
    return "".join(f"{line}\n" for line in _status(status))


def _request(request: ApprovalRequest) -> Iterator[str]:
    target = request.target
    at = f" at {target.revision}" if target.revision else ""
    signers = f" by {', '.join(target.signed_by)}" if target.signed_by else ""
    yield f"To approve: {request.tag}"
    yield f"  manifest   {target.manifest}"
    yield f"  snapshot   {target.snapshot}"
    yield printable(f"  source     {target.source}{at}, {target.captured_at[:19]}Z")
    yield f"  files      {target.files} ({size_text(target.bytes)}): {target.evidence.told()}"
    yield printable(f"  signature  {target.signature}{signers}")
    yield from _licence(request)
    yield from _policy(request)
    yield f"  expires    {request.expires[:19]}Z"
    yield from _changes(request)
    yield from (f"  {line}" for line in _status(request.status))


def _licence(request: ApprovalRequest) -> Iterator[str]:
    seen = request.licence
    parts = [
        f"{where}: {', '.join(words)}"
        for where, words in (("card", seen.card), ("source", seen.source))
        if words
    ]
    parts += [f"{path}: {name or 'a text that is not known'}" for path, name in seen.texts.items()]
    yield printable(f"  licence    {'; '.join(parts) or 'nothing says which'}")


def _policy(request: ApprovalRequest) -> Iterator[str]:
    verdict = request.policy
    word = "passes" if verdict.passes else "DOES NOT PASS"
    yield f"  policy     {word}  {verdict.policy}"
    for finding in verdict.findings:
        state = f"waived by {finding.waived.owner}" if finding.waived else finding.severity
        where = f"{finding.path}: " if finding.path else ""
        yield printable(f"             {state}: {finding.rule}: {where}{finding.what}")


def _changes(request: ApprovalRequest) -> Iterator[str]:
    if request.diff is None:
        same = request.before == request.target.snapshot
        yield (
            "  changes    none: the tag names this snapshot already"
            if same
            else "  changes    the tag names nothing yet, so there is nothing to compare with"
        )
        return
    from manifestd.reports import REPORTS
    from manifestd.reports.base import ReportOptions

    yield f"  changes    against {request.before}, which the tag names now:"
    text = REPORTS.load("text")().diff(request.diff, ReportOptions(changes_only=True))
    yield from (f"    {line}" for line in text.splitlines())
    if request.more_files:
        yield f"    … and {request.more_files} more files"


def _status(status: ApprovalStatus) -> Iterator[str]:
    if not status.required:
        yield f"no [[tags]] rule demands approvals for {status.tag}"
    else:
        yield f"approvals for {status.tag}: {'enough' if status.holds else 'MISSING'}"
    if status.problem:
        yield printable(f"  {status.problem}")
    for need in status.needs:
        yield printable(f"  {_seats(need)}")
    if status.holds and status.holds_until and status.required:
        yield f"  holds until {status.holds_until[:19]}Z"
    counted: set[str] = set()
    for item in status.approvals:
        again = " (people count once)" if item.person in counted else ""
        mark = f"counts{again}" if item.counts else f"does not count: {item.why}"
        counted |= {item.person} if item.counts else set()
        yield printable(f"  {item.at[:10]} {item.person}, {item.approval[:19]}…: {mark}")


def _seats(need: SeatsState) -> str:
    whom = f" of {need.group}" if need.group else ""
    text = f"{len(need.have)} of {need.count}{whom}"
    if need.have:
        text += f" ({', '.join(need.have)})"
    if need.excluded:
        text += f"; not counted as the author: {', '.join(need.excluded)}"
    if need.missing:
        names = ", ".join(need.candidates)
        text += f"; missing {need.missing}, could be: {names or 'nobody who is trusted'}"
    return text
