"""Keeps snapshots in SQLite: blobs by digest are the truth, tables an index of them.

The only room that knows SQL. Opening to read imports sqlite3 and nothing more.
"""

from manifestd.store.blobs import Blobs, Kind
from manifestd.store.journal import Journal
from manifestd.store.rows import Place, Row
from manifestd.store.snapshots import Snapshots
from manifestd.store.spool import Spool
from manifestd.store.store import Store, open_store
from manifestd.store.trees import ContentWriter, ObservationWriter, Trees

__all__ = [
    "Blobs",
    "ContentWriter",
    "Journal",
    "Kind",
    "ObservationWriter",
    "Place",
    "Row",
    "Snapshots",
    "Spool",
    "Store",
    "Trees",
    "open_store",
]
