"""The version, importable by anyone."""

__version__ = "0.1.0"

TOOL = f"manifestd/{__version__}"
"""How documents and requests name what made them."""
