"""manifestd: is the model we run the model we approved?

Signed, content-addressed snapshots of model repositories, kept in SQLite and
compared offline. Imports only go down::

    6  cli                       click lives here; one command a file
    5  workflows; config exports what a user asks for, from start to end
    4  sources reading formats signing store reports notifiers loopback     strangers to each other
    3  plugins                   name -> class, imported when first asked for
    2  rules                     verbs without I/O
    1  model                     nouns, frozen structs
    0  errors canonical redact display    ground

Read in this order: ``model/manifest.py``, ``model/snapshot.py``,
``sources/base.py``, ``workflows/snapshot.py``, ``cli/main.py``.
"""

from manifestd._version import __version__

__all__ = ["__version__"]
