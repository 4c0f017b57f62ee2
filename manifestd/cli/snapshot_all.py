"""``snapshot cache --all``: every revision of every repository in a Hub cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from manifestd.cli.output import emit_json, say, show_error
from manifestd.display import printable
from manifestd.errors import ManifestdError, NotStoredError
from manifestd.model.failure import failure_of
from manifestd.model.reference import HubReference
from manifestd.model.snapshot_results import NotTaken, SnapshotResults

if TYPE_CHECKING:
    from manifestd.workflows.taking import Taken


def take_all(take: Callable[[HubReference], Taken], show: Callable[[Taken], None] | None) -> int:
    """Take each; what is wrong with one never hides another.

    Args:
        take: Takes one.
        show: Shows one to people; None: one document for all is printed.

    Raises:
        NotStoredError: There is none.
    """
    from manifestd.sources.cache import cached_repositories

    taken: list[Taken] = []
    failures: list[NotTaken] = []
    codes: list[int] = []
    for reference in cached_repositories():
        try:
            found = take(reference)
        except ManifestdError as error:
            failures.append(NotTaken(reference=str(reference), error=failure_of(error)))
            codes.append(error.exit_code)
            if show is not None:
                say(f"not taken: {printable(str(reference))}")
                show_error(error)
            continue
        taken.append(found)
        codes.append(found.exit_code)
        if show is not None:
            show(found)
    if not codes:
        raise NotStoredError(
            "the Hub cache holds no downloaded revision",
            hint="set HF_HUB_CACHE or HF_HOME if the cache lies elsewhere",
        )
    code = max(codes)
    if show is None:
        results = [found.result for found in taken]
        emit_json(SnapshotResults(snapshots=results, failures=failures, exit_code=code))
    return code
