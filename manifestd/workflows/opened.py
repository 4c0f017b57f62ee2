"""What references name, wherever it lies: in the store, or in bundle files.

Imported by every command that reads, so nothing heavy is imported before a bundle is met.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from manifestd.errors import (
    AmbiguousError,
    MalformedError,
    ManifestdError,
    NotStoredError,
    UndecidedError,
    UsageError,
)
from manifestd.model.bundlefile import MAGIC
from manifestd.model.digest import Digest
from manifestd.store import Store, open_store


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What references name, wherever it lies.

    Attributes:
        store: Has all of it; opened for reading, or made for the moment.
        known: The references as that store knows them.
        shown: The references as people know them, as many.
        proofs: Snapshot -> proof of the log it comes from, as bundles carry them.
    """

    store: Store
    known: list[str]
    shown: list[str]
    proofs: dict[str, str] = {}


def is_bundle(text: str) -> Path | None:
    """The path, if ``text`` (without ``#…``) names a file that begins as a bundle does."""
    path = named_file(text)
    try:
        if path is None:
            return None
        with path.open("rb") as file:
            return path if file.read(len(MAGIC)) == MAGIC else None
    except OSError:
        return None


def named_file(text: str) -> Path | None:
    """The file that ``text``, or what stands before its last ``#``, names; None if there is none."""
    for candidate in (text, text.rpartition("#")[0]):
        if _is_file(candidate):
            return Path(candidate)
    return None


def _is_file(text: str) -> bool:
    try:
        return bool(text) and Path(text).is_file()
    except (OSError, ValueError):
        return False


@contextmanager
def opened(store_path: Path, references: Sequence[str], *, every: bool = False) -> Iterator[Opened]:
    """Open what references need: the store, or one made for the moment of bundles (and the store).

    Args:
        store_path: Of the store; it need not exist where all references are bundles.
        references: References, some of which may be bundles.
        every: A bundle of several snapshots means all of them.

    Raises:
        MalformedError: A reference is a file that is no undamaged bundle.
        AmbiguousError: A bundle of several, unless ``every``.
    """
    paths = [is_bundle(text) for text in references]
    with ExitStack() as stack:
        if not any(paths):
            with stored(store_path, references) as store:
                # A damaged bundle may not begin as one any more: it is no mere "not stored".
                known = [resolved(store, text) if named_file(text) else text for text in references]
                yield Opened(store=store, known=known, shown=list(references))
            return
        from manifestd.workflows.bundle import import_bundle, naming_bundle

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manifestd-")))
        made = stack.enter_context(open_store(folder / "bundle.db", write=True))
        known, shown = [], []
        proofs: dict[str, str] = {}
        for path, text in zip(paths, references, strict=True):
            if path is None:
                with open_store(store_path) as source:
                    known.append(_carried_over(source, text, made, folder))
                shown.append(text)
                continue
            with naming_bundle(path):
                imported = import_bundle(made, path)
            proofs |= imported.proofs
            for digest in chosen(made, imported.snapshots, path, text, every=every):
                known.append(digest)
                shown.append(text if "#" in text or not every else f"{text}#{digest}")
        yield Opened(store=made, known=known, shown=shown, proofs=proofs)


def chosen(
    store: Store, snapshots: list[Digest], path: Path, text: str, *, every: bool = False
) -> list[Digest]:
    """The snapshots of a bundle that ``FILE``, ``FILE#NAME`` or ``FILE#sha256:…`` means.

    Raises:
        NotStoredError: None of that name.
        AmbiguousError: Several, unless ``every``.
    """
    wanted = "" if _is_file(text) else text.rpartition("#")[2]
    matching = [
        digest
        for digest in snapshots
        if not wanted
        or digest.startswith((wanted, f"sha256:{wanted}"))
        or store.snapshots.load(digest).name == wanted
    ]
    listed = [f"{path}#{digest}" for digest in (matching or snapshots)]
    if not matching:
        raise NotStoredError(
            f"{path} has no snapshot {wanted!r}",
            hint="it has " + ", ".join(listed[:5]),
            facts={"candidates": listed},
        )
    if len(matching) == 1 or every:
        return matching
    raise AmbiguousError(
        f"{text} names {len(matching)} snapshots",
        hint="write one of " + ", ".join(listed[:5]),
        facts={"candidates": listed},
    )


def stored(store_path: Path, references: Sequence[str]) -> Store:
    """The store, opened for reading.

    Raises:
        NotStoredError: There is none.
        MalformedError: There is none, and a reference is a file that may have been a bundle.
    """
    try:
        return open_store(store_path)
    except NotStoredError as error:
        path = next(filter(None, map(named_file, references)), None)
        if path is None:
            raise
        raise _no_bundle(path, error) from error


def _carried_over(source: Store, text: str, target: Store, folder: Path) -> str:
    from manifestd.workflows.bundle import import_bundle
    from manifestd.workflows.bundle_write import write_bundle

    digest = resolved(source, text)
    path = folder / "carried"
    with path.open("wb") as file:
        write_bundle(source, [digest], file)
    import_bundle(target, path)
    return digest


def resolved(store: Store, text: str) -> Digest:
    """The stored snapshot that a reference means.

    Raises:
        MalformedError: None, and it is a file that may have been a bundle.
        UsageError, UndecidedError: As ``Snapshots.resolve``.
    """
    try:
        return store.snapshots.resolve(text)
    except (UndecidedError, UsageError) as error:
        path = named_file(text)
        if path is None or isinstance(error, AmbiguousError):
            raise
        raise _no_bundle(path, error) from error


def _no_bundle(path: Path, error: ManifestdError) -> MalformedError:
    return MalformedError(
        f"{path} is neither a snapshot in the store nor an undamaged bundle",
        why=error.what,
        hint="copy the file again from where it was made",
    )
