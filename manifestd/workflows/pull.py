"""``pull``: snapshots that were pushed into a registry, back into the store, and verified."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from manifestd.config.shape import TagRule
from manifestd.errors import (
    MalformedError,
    ManifestdError,
    NotStoredError,
    TamperedError,
)
from manifestd.model import media_types
from manifestd.model.carrier import BUNDLE_LAYER, CARRIER, SNAPSHOT_NOTE
from manifestd.model.digest import Digest
from manifestd.model.entry import Problem
from manifestd.model.reference import OciReference
from manifestd.model.snapshot import moment_of
from manifestd.model.verification import Pulled
from manifestd.redact import redact
from manifestd.signing.trust import Trust
from manifestd.sources.base import SourceSettings
from manifestd.sources.oci_http import Registry
from manifestd.sources.oci_manifest import Manifest
from manifestd.sources.oci_store import Stored, get_blob, get_manifest, referrers
from manifestd.sources.oci_unpack import BlobReader
from manifestd.store import Store
from manifestd.workflows.bundle import import_bundle
from manifestd.workflows.sign import judge_signature
from manifestd.workflows.verify import verify_references

MAX_BUNDLE: Final = 16 * 1024 * 1024 * 1024
MAX_SIGNATURE: Final = 1024 * 1024
MAX_ATTACHED: Final = 100
"""Carriers of one artifact, and signatures of one carrier, that are looked at."""

_PIECE: Final = 1024 * 1024


def pull_snapshots(
    store: Store,
    reference: OciReference,
    *,
    settings: SourceSettings,
    trust: Trust,
    rules: Sequence[TagRule],
    environ: Mapping[str, str] | None = None,
) -> Pulled:
    """Bring in what a carrier holds, or what is attached to an artifact.

    Args:
        store: Opened for writing.
        reference: The carrier, or the artifact.
        settings: Timeouts; the option ``plainHttp``.
        trust: By which signatures and statements are judged.
        rules: The ``[[tags]]`` rules that hold here.
        environ: Where docker's configuration is looked for.

    Raises:
        NotStoredError: It is no carrier and has none.
        MalformedError: None of the carriers attached to it is right.
        MalformedError, TamperedError, MismatchError: The carrier is not what it says.
        SourceNotFoundError, AccessDeniedError, UnreachableError: As the registry answers.
    """
    made = Registry(reference, settings, environ=os.environ if environ is None else environ)
    with closing(made) as registry:
        top = get_manifest(registry, reference.digest or reference.tag or "latest")
        pull = _Pull(registry, store, trust, rules)
        if top.manifest.artifact_type == CARRIER:
            pull.carrier(top)
        else:
            pull.attached_to(top)
    if not pull.carriers and pull.problems:
        raise MalformedError(
            f"what is attached to {reference} is not right, and nothing of it was taken",
            why=pull.problems[0].what,
            facts={"problems": [problem.what for problem in pull.problems]},
        )
    if not pull.carriers:
        raise NotStoredError(
            f"nothing of manifestd is at {reference}, and nothing attached to it",
            hint=f"attach it: manifestd push REF {reference.place()} "
            f"--subject {reference.place()}@{top.digest}",
        )
    results = verify_references(store, list(pull.snapshots), trust)
    return Pulled(
        reference=f"{reference.place()}@{top.digest}",
        carriers=pull.carriers,
        snapshots=results,
        new=pull.new,
        problems=pull.problems,
        verified=bool(results) and all(result.verified for result in results),
    )


class _Pull:
    """One pull and what it found so far."""

    def __init__(
        self, registry: Registry, store: Store, trust: Trust, rules: Sequence[TagRule]
    ) -> None:
        self._registry = registry
        self._store = store
        self._trust = trust
        self._rules = rules
        self.carriers: list[str] = []
        self.snapshots: dict[Digest, None] = {}
        self.problems: list[Problem] = []
        self.new = 0

    def attached_to(self, top: Stored) -> None:
        """Every carrier attached to an artifact; a bad one does not hide the others."""
        found = [
            item for item in referrers(self._registry, top.digest) if item.artifact_type == CARRIER
        ]
        for item in found[:MAX_ATTACHED]:
            try:
                stored = get_manifest(self._registry, item.digest)
                subject = stored.manifest.subject
                if stored.manifest.artifact_type != CARRIER:
                    raise MalformedError("it is no carrier")
                if subject is None or subject.digest != top.digest:
                    raise MalformedError("it is attached to another artifact")
                self.carrier(stored)
            except ManifestdError as error:
                self._refuse(item.digest, error)

    def carrier(self, stored: Stored) -> None:
        """Import a carrier's bundle, then the signatures attached to the carrier."""
        layer = next(
            (item for item in stored.manifest.layers or () if item.media_type == BUNDLE_LAYER), None
        )
        if layer is None or layer.size > MAX_BUNDLE:
            raise MalformedError(f"the carrier {stored.digest} has no bundle, or too large a one")
        with tempfile.TemporaryDirectory(prefix="manifestd-") as folder:
            path = Path(folder) / "snapshot.bundle"
            reader = BlobReader(self._registry, layer, threading.Event())
            with closing(reader), path.open("wb") as file:
                while piece := reader.read(_PIECE):
                    file.write(piece)
                reader.finish()
            with self._store.transaction():
                imported = import_bundle(
                    self._store, path, trust=self._trust, rules=self._rules, inspect=True
                )
                if imported.snapshots != [_named(stored.manifest)]:
                    raise TamperedError(
                        f"the carrier {stored.digest} brings another snapshot than it names"
                    )
        self.carriers.append(stored.digest)
        self.new += imported.new
        for digest in imported.snapshots:
            self.snapshots[digest] = None
            self._signatures(stored, digest)

    def _signatures(self, stored: Stored, digest: Digest) -> None:
        record = self._store.snapshots.load(digest)
        known = set(self._store.snapshots.bundles(digest))
        found = [
            item
            for item in referrers(self._registry, stored.digest)
            if item.artifact_type == media_types.SIGSTORE_BUNDLE
        ]
        for item in found[:MAX_ATTACHED]:
            try:
                manifest = get_manifest(self._registry, item.digest).manifest
                layers = manifest.layers or []
                if len(layers) != 1:
                    raise MalformedError("it has not one layer")
                bundle = get_blob(self._registry, layers[0], MAX_SIGNATURE)
                if bundle in known:
                    continue
                judged = judge_signature(
                    bundle, digest=digest, manifest=record.manifest, trust=self._trust,
                    at=moment_of(record.captured_at),
                )  # fmt: skip
                # Anyone who may push can attach anything; what is wrong is not taken in.
                if judged.state == "invalid":
                    raise MalformedError(judged.why or "it is invalid")
                self._store.snapshots.attach(digest, bundle)
            except ManifestdError as error:
                self._refuse(item.digest, error)

    def _refuse(self, digest: str, error: ManifestdError) -> None:
        what = f"{digest} is attached and was not taken: {redact(error.what)}"
        self.problems.append(Problem(code=error.code, what=what, severity="note"))


def _named(manifest: Manifest) -> str:
    return (manifest.annotations or {}).get(SNAPSHOT_NOTE, "")
