"""What was known of a lead or a deal at a moment: point-in-time features, built one way for every use."""

from features.catalogue import CATALOGUE, describe, feature, format_value
from features.learning import learn_spec
from features.matrix import FeatureMatrix, Snapshots, build_features, categorical_names
from features.part import prepare_records
from features.prepared import Prepared, prepare, prepare_rows
from features.series import Series
from features.snapshots import open_at, weekly_snapshots
from features.spec import FeatureSpec, Kind, Levels

__all__ = [
    "CATALOGUE",
    "FeatureMatrix",
    "FeatureSpec",
    "Kind",
    "Levels",
    "Prepared",
    "Series",
    "Snapshots",
    "build_features",
    "categorical_names",
    "describe",
    "feature",
    "format_value",
    "learn_spec",
    "open_at",
    "prepare",
    "prepare_records",
    "prepare_rows",
    "weekly_snapshots",
]
