"""Importing a CRM's exports by a mapping file."""

from crm.importing.parts import Export, Part
from crm.importing.reading import read_export

__all__ = ["Export", "Part", "read_export"]
