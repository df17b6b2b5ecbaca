"""The settings of the service, and reading files with errors that say where."""

from lookaside.config.access import ALL, OWN, Allowance, is_spiffe_id
from lookaside.config.loading import load
from lookaside.config.settings import OTHER_VARIABLES, PREFIX, SETTINGS, Setting, Settings
from lookaside.config.values import SOURCE_FORMS, SOURCE_KINDS, Listen, SourceSetting

__all__ = [
    "ALL",
    "OTHER_VARIABLES",
    "OWN",
    "PREFIX",
    "SETTINGS",
    "SOURCE_FORMS",
    "SOURCE_KINDS",
    "Allowance",
    "Listen",
    "Setting",
    "Settings",
    "SourceSetting",
    "is_spiffe_id",
    "load",
]
