"""The version, importable by anyone."""

__version__ = "0.1.0"
