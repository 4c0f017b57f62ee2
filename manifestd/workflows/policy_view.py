"""One stored snapshot as a policy sees it: files with what was read in them, licences, baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from manifestd.formats.names import NEXT, reader_name
from manifestd.model.entry import File
from manifestd.model.snapshot import Snapshot
from manifestd.rules.licenses import LicenceFile, Licences, Stance, identify, stance
from manifestd.rules.policy import ViewFile
from manifestd.rules.secrets import Secret, find_secrets
from manifestd.store import Store

_TEXTS: Final = frozenset({"json", "shardindex", "card", "text"})
"""Readers whose files are kept whole where they are read at all."""

_SILENT: Final = frozenset({"safetensors", "shardindex"})
"""Readers that warn of nothing: their facts are large and need not be loaded."""

_LICENCE_STEMS: Final = frozenset({"license", "licence", "copying"})

_KINDS: Final[dict[str, str]] = {
    "onnx": "onnx", "onnx_data": "onnx", "onnx.data": "onnx", "pb": "tensorflow", "h5": "hdf5",
    "hdf5": "hdf5", "msgpack": "flax", "npz": "numpy", "npy": "numpy", "ot": "torch-rs",
    "mlmodel": "coreml", "engine": "tensorrt", "model": "sentencepiece",
}  # fmt: skip
"""Suffixes whose format has another name."""

FORMATS: Final = frozenset(
    {"safetensors", "gguf", "pickle", "json", "card", "text"}
    | {_KINDS.get(suffix.removeprefix("."), suffix.removeprefix(".")) for suffix in NEXT}
)
"""Every word that may stand after ``format:`` in a policy."""

_MAX_KNOWN: Final = 50_000
# What a content holds depends on its bytes alone, and nightly snapshots share most of them.
_secrets_of: dict[str, tuple[Secret, ...]] = {}
_findings_of: dict[str, tuple[Mapping[str, Any], ...] | None] = {}


def format_of(path: str) -> str:
    """The format that a file's name stands for; empty when it stands for none.

    Example:
        >>> format_of("model.safetensors"), format_of("a/pytorch_model.bin"), format_of("x.onnx")
        ('safetensors', 'pickle', 'onnx')
    """
    reader = reader_name(path)
    if reader == "torchzip":
        return "pickle"
    if reader == "shardindex":
        return "json"
    if reader != "named":
        return reader or ""
    name = path.rpartition("/")[2].lower()
    suffix = next((suffix for suffix in NEXT if name.endswith(suffix)), ".model")
    return _KINDS.get(suffix[1:], suffix[1:])


@lru_cache(maxsize=8192)
def _known(path: str) -> tuple[str | None, str]:
    """Reader and format of a name; most repositories have the same names."""
    return reader_name(path), format_of(path)


class Viewer:
    """Looks at the snapshots of one store.

    Args:
        store: Opened for reading.
        secrets: Whether texts are searched for secrets.
        security: Whether the warnings of format readers are looked up.
    """

    def __init__(self, store: Store, *, secrets: bool, security: bool) -> None:
        self._store = store
        self._secrets = secrets
        self._security = security

    def files(self, record: Snapshot) -> Iterator[ViewFile]:
        """Every file of a snapshot, in path order, streaming.

        Raises:
            TamperedError: The store does not hold what the record says.
        """
        for file in self._store.trees.files(record):
            reader, kind = _known(file.path)
            is_text = file.seen.body or reader in _TEXTS
            yield ViewFile(
                path=file.path,
                sha256=file.sha256,
                grade=file.grade(),
                role=file.seen.role,
                format=kind,
                secrets=self._searched(file) if is_text and self._secrets else (),
                findings=self._warnings(file, reader) if self._security else (),
            )

    def licences(self, record: Snapshot) -> Licences:
        """What card, source and licence texts at the root of the model say.

        Raises:
            TamperedError: The store does not hold what the record says.
        """
        cards: dict[str, File] = {}
        texts: dict[str, LicenceFile] = {}
        for file in self._root(record):
            if file.seen.role == "card":
                cards[file.path] = file
            elif file.path.partition(".")[0].partition("-")[0].lower() in _LICENCE_STEMS:
                texts[file.path] = self._text(file)
        hub = record.source.startswith(("hf://", "hf-cache://"))
        said = record.facts.get("license")
        words = said if isinstance(said, list) else [said] if isinstance(said, str) else []
        return Licences(
            card=self._card(cards),
            hub=stance(words) if hub and record.source.startswith("hf://") else Stance(),
            files=texts,
        )

    def _root(self, record: Snapshot) -> Iterator[File]:
        """Files of the root that may speak of a licence."""
        wanted = [
            path
            for path, _, _ in self._store.trees.contents(record)
            if "/" not in path and (_known(path)[0] in {"card", "text"} or "." not in path)
        ]
        yield from self._store.trees.some_files(record, wanted).values()

    def _card(self, cards: Mapping[str, File]) -> Stance:
        if not cards:
            return stance(())
        path = min(cards, key=lambda name: (name.lower() != "readme.md", name))
        facts = self._store.facts(cards[path])
        if facts is None or "refused" in facts:
            return Stance()
        words = facts.get("license", ())
        return stance(word for word in words if isinstance(word, str))

    def _text(self, file: File) -> LicenceFile:
        body = self._store.body(file)
        name = identify(body) if body is not None else None
        return LicenceFile(sha256=file.sha256, name=name, read=body is not None)

    def _searched(self, file: File) -> tuple[Secret, ...] | None:
        if file.sha256 is None or not file.seen.body:
            return None
        known = _secrets_of.get(file.sha256)
        if known is None:
            body = self._store.body(file)
            if body is None:
                return None
            known = tuple(find_secrets(body))
            if len(_secrets_of) >= _MAX_KNOWN:
                _secrets_of.clear()
            _secrets_of[file.sha256] = known
        return known

    def _warnings(self, file: File, reader: str | None) -> tuple[Mapping[str, Any], ...] | None:
        digest = file.seen.facts
        if digest is None or reader in _SILENT:
            return None if reader == "torchzip" else ()
        if digest not in _findings_of:
            if len(_findings_of) >= _MAX_KNOWN:
                _findings_of.clear()
            _findings_of[digest] = _warned(self._store.facts(file), reader)
        return _findings_of[digest]


def _warned(
    facts: Mapping[str, Any] | None, reader: str | None
) -> tuple[Mapping[str, Any], ...] | None:
    found = (facts or {}).get("findings")
    warnings = tuple(item for item in found if isinstance(item, dict)) if isinstance(
        found, list
    ) else ()  # fmt: skip
    # Old torch files and bare pickles are compared by bytes, and were walked for all that.
    unread = facts is None or ("refused" in facts and "globals" not in facts and not warnings)
    return None if unread and reader == "torchzip" else warnings
