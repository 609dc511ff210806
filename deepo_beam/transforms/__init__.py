"""The Beam side: PTransforms, named as verbs, over the engine and the lake."""

from deepo_beam.transforms import _coders  # noqa: F401 - says how images travel
from deepo_beam.transforms.flatten_predictions import FlattenPredictions, Label
from deepo_beam.transforms.label_images import LabelBuckets, LabelImages
from deepo_beam.transforms.list_images import ListImages, SelectImages
from deepo_beam.transforms.plan_buckets import EstimateWork
from deepo_beam.transforms.publish_tables import PublishTables

__all__ = [
    "EstimateWork",
    "FlattenPredictions",
    "Label",
    "LabelBuckets",
    "LabelImages",
    "ListImages",
    "PublishTables",
    "SelectImages",
]
