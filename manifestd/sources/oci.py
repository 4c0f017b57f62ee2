"""A registry as a source: one manifest, its layers, the files in them.

The manifest's bytes are checked against its digest, so what it says of a raw layer
(its digest, which the registry verified when the layer was uploaded) is ``stored``
evidence of that file with no download. Archive layers are streamed while listing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final

from manifestd import canonical
from manifestd.display import printable, size_text
from manifestd.errors import (
    AmbiguousError,
    ChangedError,
    EmptySourceError,
    MalformedError,
    ManifestdError,
    MismatchError,
    UnreadableError,
)
from manifestd.model.content import RandomAccess, Stream
from manifestd.model.entry import Entry, Problem
from manifestd.model.reference import OciReference
from manifestd.redact import redact
from manifestd.sources.base import Resolved, Source, SourceSettings
from manifestd.sources.oci_archive import Aside, Opened, Opener, is_safe, overlay, recalled
from manifestd.sources.oci_blob import check_size, open_blob, stored_size
from manifestd.sources.oci_facts import elsewhere, facts_of
from manifestd.sources.oci_http import Registry
from manifestd.sources.oci_manifest import (
    ACCEPTED,
    Descriptor,
    Layer,
    Manifest,
    checked_digest,
    family_of,
    layers_of,
    parse_manifest,
)
from manifestd.sources.oci_member import MemberAccess, member_stream

log = logging.getLogger(__name__)

_MAX_CONFIG: Final = 4 * 1024 * 1024
_MAX_INDEXES: Final = 3
_OPENED_AT_ONCE: Final = 4


class OciSource(Source[OciReference]):
    """One tag or digest of a repository in a registry. Thread-safe after :meth:`list`.

    Args:
        reference: The repository, with tag or digest; ``latest`` when it has neither.
        settings: Timeouts and budgets; the option ``plainHttp`` allows http to other machines.
        environ: Where docker's configuration is looked for.
        sleep: Waits between tries.
        clock: Seconds that only grow.
    """

    scheme: ClassVar[str] = "oci"

    def __init__(
        self,
        reference: OciReference,
        settings: SourceSettings,
        *,
        environ: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(reference, settings)
        self._registry = Registry(
            reference, settings, environ=environ if environ is not None else os.environ,
            sleep=sleep, clock=clock,
        )  # fmt: skip
        self._layers: list[Layer] = []
        self._by_digest: dict[str, Layer] = {}
        self._image = False
        self._aside: Aside | None = None

    @property
    def requests(self) -> int:  # type: ignore[override]
        """Requests on the wire so far: redirects, log-ins and retries included."""
        return self._registry.requests

    def resolve(self) -> Resolved:
        """Fetch the manifest that the tag or digest names; see :meth:`Source.resolve`.

        Raises:
            AmbiguousError: An index of several manifests.
            MismatchError: The registry's bytes do not have the digest that was asked for.
            MalformedError, UnreadableError: It is not a manifest that can be understood.
        """
        self._registry.shared = self.shared
        requested = self.reference.digest or self.reference.tag or "latest"
        found, digest = self._manifest(requested)
        facts: dict[str, Any] = {}
        for _ in range(_MAX_INDEXES):
            if found.manifests is None:
                break
            facts.setdefault("index", digest)
            found, digest = self._manifest(self._only(found.manifests).digest)
        if found.manifests is not None:
            raise UnreadableError("the index holds indexes, many deep")
        config = self._config(found)
        self._layers = layers_of(found)
        self._by_digest = {layer.descriptor.digest: layer for layer in self._layers}
        self._image = family_of(found) == "image"
        notes = []
        other = elsewhere(found, config)
        if other is not None:
            what = f"the ModelKit takes its model from another one: {printable(redact(other))}"
            notes.append(Problem(code="elsewhere", what=what, severity="note"))
        return Resolved(
            place=self.reference.place(),
            name=self.reference.repository,
            requested=requested,
            revision=digest,
            facts={**facts, **facts_of(found, config)},
            notes=tuple(notes),
        )

    def _manifest(self, name: str) -> tuple[Manifest, str]:
        url = self._registry.url(f"manifests/{name}")
        data, answer = self._registry.document(url, {"Accept": ", ".join(ACCEPTED)})
        # The digest of what came is its name; what the registry calls it must agree.
        told = answer.headers.get("Docker-Content-Digest")
        digest = checked_digest(data, name, told, self._registry.host)
        return parse_manifest(data, answer.headers.get("Content-Type", "")), digest

    def _only(self, manifests: list[Descriptor]) -> Descriptor:
        """The one manifest of an index; those that only attest another do not count."""
        found = [item for item in manifests if not item.note("vnd.docker.reference.digest")]
        if len(found) == 1:
            return found[0]
        if not found:
            raise EmptySourceError(f"{self.reference} is an index of nothing")
        shown = [f"{self.reference.place()}@{item.digest}{_platform(item)}" for item in found[:20]]
        raise AmbiguousError(
            f"{self.reference} is an index of {len(found)} manifests",
            why="; ".join(shown),
            hint="name one of them by its digest",
            facts={"candidates": [item.digest for item in found]},
        )

    def _config(self, manifest: Manifest) -> Any:
        """The config document where it is metadata of the model; None for others."""
        config = manifest.config
        if config is None or family_of(manifest) not in {"modelpack", "kitops"}:
            return None
        if config.size > _MAX_CONFIG:
            raise MalformedError(f"the artifact's config has {config.size} bytes")
        data, _ = self._registry.document(
            self._registry.url(f"blobs/{config.digest}"), {}, limit=_MAX_CONFIG
        )
        algorithm, _, value = config.digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != value:
            raise MismatchError(f"the artifact's config does not have the digest {config.digest}")
        return canonical.decode_foreign(data, name="the artifact's config", max_size=_MAX_CONFIG)

    def list(self, resolved: Resolved) -> Iterator[Entry | Problem]:
        """Every file: those of raw layers first, then those inside archives, which are read.

        Raises:
            EmptySourceError: No layer names a file that may be taken.
        """
        refused = [found for layer in self._layers if (found := self._refused(layer)) is not None]
        if refused and len(refused) == len(self._layers):
            raise EmptySourceError(
                f"{self.reference} has no layer that names a file",
                why="; ".join(problem.what for problem in refused[:3]),
                hint="pack it again with a tool that names files: modctl, kit or oras",
            )
        seen: set[str] = set()
        for layer in self._layers:
            if layer.kind == "opaque":
                yield self._opaque(layer)
        with ThreadPoolExecutor(max(1, self.settings.jobs)) as pool:
            files = [layer for layer in self._layers if layer.kind == "file"]
            for entry in pool.map(self._file, files):
                yield _once(entry, seen)
        archives = [layer for layer in self._layers if layer.kind == "archive"]
        known = self._recalled(archives)
        for layer in archives:
            for entry in known.get(layer.descriptor.digest, ()):
                yield _once(entry, seen)
        archives = [layer for layer in archives if layer.descriptor.digest not in known]
        if archives:
            yield from self._archives(archives, seen)

    def _recalled(self, archives: Sequence[Layer]) -> Mapping[str, Sequence[Entry]]:
        """What the latest snapshot knows of layers that are still the same."""
        if self.recorded is None or self._image or not archives:
            return {}
        return recalled(self.recorded(), {layer.descriptor.digest for layer in archives})

    def _refused(self, layer: Layer) -> Problem | None:
        """What keeps a layer from being a file, without asking the registry for it."""
        if layer.kind == "opaque":
            return self._opaque(layer)
        if layer.kind == "file" and not is_safe(layer.path):
            what = f"the layer {layer.descriptor.digest} has a name that leads out:"
            return Problem(code="unsafe-path", what=f"{what} {printable(layer.path)}")
        return None

    def _opaque(self, layer: Layer) -> Problem:
        item = layer.descriptor
        empty = item.size == 2 and "empty" in item.media_type
        kind = printable(redact(item.media_type))[:200] or "of no type"
        return Problem(
            code="opaque-layer",
            what=f"the layer {item.digest} ({kind}, {size_text(item.size)}) names no file",
            # What may hold files that nobody looked at keeps a snapshot from being whole.
            severity="note" if empty else "error",
        )

    def _file(self, layer: Layer) -> Entry | Problem:
        """A raw layer is a file; the registry is asked only whether it is there, and how long."""
        item, path = layer.descriptor, layer.path
        if (refused := self._refused(layer)) is not None:
            return refused
        algorithm, _, value = item.digest.partition(":")
        problem = None
        try:
            found = self._registry.retried(lambda: stored_size(self._registry, item))
            check_size(self._registry, item, found)
        except ManifestdError as error:
            problem = Problem(
                path=path, code=error.code, what=error.what, hint=error.hint,
                severity="mismatch" if isinstance(error, MismatchError) else "error",
            )  # fmt: skip
        return Entry(
            path=path,
            size=item.size,
            digests={algorithm: value},
            evidence={algorithm: "stored"},
            identity={"layer": item.digest},
            hints={"layer": "file", "mediaType": item.media_type[:200]},
            problem=problem,
        )

    def _archives(self, archives: Sequence[Layer], seen: set[str]) -> Iterator[Entry | Problem]:
        self._aside = self._aside or Aside()
        opener = Opener(self._registry, self._aside, image=self._image)
        total = sum(layer.descriptor.size for layer in archives)
        log.info("reading %d archive layers (%s)", len(archives), size_text(total))
        # From the top layer down: in an image it hides what is below.
        order = archives[::-1] if self._image else archives
        pool = ThreadPoolExecutor(_OPENED_AT_ONCE)
        try:
            opened: list[Opened] = []
            for found in pool.map(opener.open, order):
                self.bytes_listed += found.bytes
                yield from found.problems
                if self._image:
                    opened.append(found)
                else:
                    for entry in found.entries:
                        yield _once(entry, seen)
            entries: list[Entry] = []
            overlay(opened, entries.append)
            yield from entries
        finally:
            opener.stop.set()
            pool.shutdown(cancel_futures=True)

    def open(self, resolved: Resolved, entry: Entry, offset: int = 0) -> Stream:
        """Open a file from ``offset``: its layer's bytes, or its part of an archive layer.

        Raises:
            ChangedError: The layer is not of this manifest.
        """
        layer = self._layer_of(entry)
        if "at" in entry.identity:
            return member_stream(self._registry, layer, entry, self._aside, offset=offset)
        return open_blob(self._registry, layer.descriptor, offset)

    def open_range(self, resolved: Resolved, entry: Entry, offset: int, end: int) -> Stream:
        """Open a part of a file; of a raw layer no more than that is sent."""
        layer = self._layer_of(entry)
        if "at" in entry.identity:
            return member_stream(self._registry, layer, entry, self._aside, offset=offset, end=end)
        return open_blob(self._registry, layer.descriptor, offset, max(end - offset, 0))

    def peek(self, resolved: Resolved, entry: Entry) -> RandomAccess:
        """Random access; deep in a compressed layer each read unpacks it again."""
        return MemberAccess(
            entry.size, lambda offset, end: self.open_range(resolved, entry, offset, end)
        )

    def _layer_of(self, entry: Entry) -> Layer:
        layer = self._by_digest.get(entry.identity.get("layer", ""))
        if layer is None:
            raise ChangedError(f"{entry.path!r} is in no layer of this manifest")
        return layer

    def close(self) -> None:
        """Close the connections and forget what was kept aside."""
        self._registry.close()
        if self._aside is not None:
            self._aside.close()
            self._aside = None


def _once(entry: Entry | Problem, seen: set[str]) -> Entry | Problem:
    if isinstance(entry, Problem):
        return entry
    if entry.path in seen:
        what = f"the artifact holds {printable(entry.path)} more than once; the first counts"
        return Problem(code="duplicate-path", what=what)
    seen.add(entry.path)
    return entry


def _platform(item: Descriptor) -> str:
    parts = [str((item.platform or {}).get(name, "")) for name in ("os", "architecture")]
    shown = printable("/".join(part for part in parts if part))[:60]
    return f" ({shown})" if shown else ""
