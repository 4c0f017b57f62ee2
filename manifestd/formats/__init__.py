"""What a file says of itself. One line here is all a new format reader needs; first match wins."""

from __future__ import annotations

from manifestd.formats.base import FormatReader
from manifestd.plugins import Family

FORMATS: Family[FormatReader] = Family("formats", {})
