"""What every command needs to know: where the configuration and the store are, and how to speak."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manifestd._version import TOOL

if TYPE_CHECKING:
    from manifestd.config import Config
    from manifestd.signing.base import Signer
    from manifestd.signing.trust import Trust
    from manifestd.store import Store
    from manifestd.workflows.desk import Desk
    from manifestd.workflows.opened import Opened


STORE_ENDINGS: Final = ("", "-wal", "-shm", "-journal")
"""What a store's name may end in: the file, and those that SQLite puts beside it."""

READ_ONCE: Final = 2048
"""KiB of the store's pages to keep where each document is read in turn."""


class Context:
    """The global options, and what follows from them, loaded when first asked for."""

    def __init__(
        self,
        *,
        config_file: Path | None = None,
        store_file: Path | None = None,
        quiet: bool = False,
        verbose: bool = False,
        log_format: str = "text",
    ) -> None:
        self.config_file = config_file
        self.store_file = store_file
        self.quiet = quiet
        self.verbose = verbose
        self.log_format = log_format

    @cached_property
    def config(self) -> Config:
        """The configuration; the built-in defaults where there is no file."""
        from manifestd.config import load_config

        return load_config(self.config_file, os.environ)

    @cached_property
    def store_path(self) -> Path:
        """The store: ``--store``, ``MANIFESTD_STORE``, the configuration, the default."""
        if self.store_file is not None:
            return self.store_file
        return self.config.store_path(os.environ)

    def open_store(self, *, write: bool = False, cache: int | None = None) -> Store:
        """Open the store; writing creates it.

        Args:
            write: Whether it may be changed.
            cache: KiB of its pages to keep in memory; None: much. Who reads everything once
                needs few.
        """
        from manifestd.store import open_store

        return open_store(self.store_path, write=write, cache=cache)

    def change_store(self) -> Store:
        """Open the store that is there, to write: a typing error must not make an empty one.

        Raises:
            NotStoredError: There is none.
        """
        self.open_store().close()
        return self.open_store(write=True)

    @contextmanager
    def gathered(self, *references: str) -> Iterator[tuple[Store, list[str]]]:
        """The store for reading references, some of which may be bundle files; see ``opened``."""
        with self.opened(*references) as found:
            yield found.store, found.known

    def opened(self, *references: str, every: bool = False) -> AbstractContextManager[Opened]:
        """What references name, in the store or in bundle files; see ``workflows.opened``."""
        from manifestd.workflows.opened import opened

        return opened(self.store_path, references, every=every)

    def trust(self) -> Trust:
        """The keys that count, from the configuration."""
        from manifestd.signing.trust import load_trust

        return load_trust(self.config)

    def signer(self, uri: str | None = None) -> Signer | None:
        """The signer for ``uri`` or the configured key; None when neither is there."""
        uri = uri or self.config.signing_key()
        if uri is None:
            return None
        from manifestd.signing import signer_for

        return signer_for(uri, passphrase=self._passphrase)

    def desk(self, signer: Signer | None = None) -> Desk:
        """By what statements are judged now, and signed with a key if one is given."""
        from manifestd.workflows.desk import Desk

        now = datetime.now(UTC)
        return Desk(config=self.config, trust=self.trust(), now=now, tool=TOOL, signer=signer)

    def own_outputs(self) -> tuple[str, ...]:
        """Absolute paths that manifestd itself writes; directory snapshots leave them out."""
        store = self.store_path.absolute()
        paths = [Path(f"{store}{end}") for end in STORE_ENDINGS]
        if self.config.path is not None:
            paths.append(self.config.path.absolute())
        key = self.config.signing_key()
        if key is not None and "://" not in key:
            # A private key must never become a file of a snapshot, let alone a stored body.
            paths += [Path(key).absolute(), Path(f"{key}.pub").absolute()]
        return tuple(str(path) for path in paths)

    @staticmethod
    def _passphrase() -> bytes | None:
        value = os.environ.get("MANIFESTD_KEY_PASSPHRASE")
        if value is not None:
            return value.encode()
        if not os.isatty(0):
            return None
        import getpass

        return getpass.getpass("Passphrase of the signing key: ").encode()
