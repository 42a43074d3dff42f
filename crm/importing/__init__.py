"""Importing a CRM's exports by a mapping file."""

from crm.importing.loading import ImportReport, import_export
from crm.importing.parts import Export, Part
from crm.importing.reading import read_export

__all__ = ["Export", "ImportReport", "Part", "import_export", "read_export"]
