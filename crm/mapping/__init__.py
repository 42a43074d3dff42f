"""The mapping file: how one CRM's export becomes the canonical tables."""

from crm.mapping.file import load_mapping
from crm.mapping.rules import (
    BeforeClose,
    EventMapping,
    FileOptions,
    Join,
    Mapping,
    OutcomeRule,
    TableMapping,
    WorkRule,
)

__all__ = [
    "BeforeClose",
    "EventMapping",
    "FileOptions",
    "Join",
    "Mapping",
    "OutcomeRule",
    "TableMapping",
    "WorkRule",
    "load_mapping",
]
