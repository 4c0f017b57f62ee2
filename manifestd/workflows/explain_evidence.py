"""``snapshot s3 --explain``: what a listing alone proves, before anything is read or stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import msgspec

from manifestd.errors import UsageError
from manifestd.model.entry import Entry, Problem
from manifestd.model.explanation import Explanation
from manifestd.rules.globs import matches_any
from manifestd.sources.s3 import S3Source
from manifestd.workflows.plan import SnapshotRequest
from manifestd.workflows.snapshot import open_source

MAX_PROBLEMS: Final = 200


def explain_place(request: SnapshotRequest) -> Explanation:
    """List a place as a snapshot would, and say what is known of each object and what more would cost.

    Asks what the snapshot would ask (listing, HEADs, part digests) and reads no content.

    Raises:
        UsageError: Not an S3 reference: other sources have one kind of evidence only.
        ManifestdError: The place cannot be resolved or listed, or is empty.
    """
    with closing(open_source(request)) as source:
        if not isinstance(source, S3Source):
            raise UsageError("only S3 prefixes have evidence to explain")
        resolved = source.resolve()
        problems: list[Problem] = list(resolved.notes)

        def entries() -> Iterator[Entry]:
            for item in source.list(resolved):
                problem = item if isinstance(item, Problem) else item.problem
                if problem is not None and len(problems) < MAX_PROBLEMS:
                    problems.append(problem)
                if isinstance(item, Entry) and not matches_any(item.path, request.ignore):
                    yield item

        found = source.explain(entries())
        return msgspec.structs.replace(found, problems=problems, asked=source.requests)
