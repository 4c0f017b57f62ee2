"""A gate for what lies in a bundle: judged in a store that is made for it and thrown away."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from manifestd.config.shape import TagRule
from manifestd.signing.trust import Trust
from manifestd.store import Store, open_store
from manifestd.workflows.bundle import import_bundle, naming_bundle
from manifestd.workflows.gate import Candidate
from manifestd.workflows.opened import chosen

log = logging.getLogger(__name__)


@contextmanager
def bundled_candidate(
    store_path: Path,
    bundle: Path,
    reference: str,
    trust: Trust,
    now: datetime,
    *,
    rules: Sequence[TagRule],
) -> Iterator[tuple[Store, Candidate]]:
    """A store with what is known here and what a bundle brings; and the candidate in it.

    Approvals, revocations and tag moves of the bundle count as if they were imported now. A tag
    that has a history here is moved only from where it stands; one that has none is taken as
    the bundle has it. Nothing is kept.

    Args:
        store_path: Of the store; it need not exist.
        bundle: The bundle's path.
        reference: As it was typed: ``FILE``, ``FILE#NAME`` or ``FILE#sha256:…``.
        trust: The keys that count.
        now: As of when.
        rules: The ``[[tags]]`` rules that hold here.

    Raises:
        MalformedError, TamperedError, NotCanonicalError: Not an undamaged bundle.
        SignatureError: A signature in it is wrong.
        NotStoredError, AmbiguousError: The reference names none of its snapshots, or several.
    """
    with tempfile.TemporaryDirectory(prefix="manifestd-") as folder:
        path = Path(folder) / "manifestd.db"
        if store_path.exists():
            from manifestd.store.backup import backup_store

            backup_store(store_path, path)
        with open_store(path, write=True) as store:
            with naming_bundle(bundle):
                found = import_bundle(
                    store, bundle, trust=trust, rules=rules, now=now, adopt=True, inspect=True
                )
            for statement in found.statements:
                if statement.state == "refused":
                    about = f"{statement.kind} of {statement.tag} by {statement.by}"
                    log.warning("the bundle's %s does not count here: %s", about, statement.why)
            [digest] = chosen(store, found.snapshots, bundle, reference)
            record = store.snapshots.load(digest)
            yield (
                store,
                Candidate(reference=reference, snapshot=digest, record=record, carried=True),
            )
