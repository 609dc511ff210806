"""The transforms of ``provider.yaml``, for pipelines of Beam YAML: rows in, rows out, failures apart.

They are of use in Python, too: their inputs and outputs are collections with schemas.
"""

from deepo_beam.beam_yaml.label_images import LabelImages
from deepo_beam.beam_yaml.read_images import ReadImages
from deepo_beam.beam_yaml.write_labels import WriteLabels

__all__ = ["LabelImages", "ReadImages", "WriteLabels"]
