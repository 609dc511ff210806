"""From what a user names to images: globs, folders, lists, standard input, URLs, ``errors/`` of earlier runs.

No Beam, no reading of images. Everything streams: neither a list nor its images are held in memory.
"""

from __future__ import annotations

from deepo_beam.inputs.classify import InputKind, classify_input
from deepo_beam.inputs.counting import counted, listed
from deepo_beam.inputs.expand import expand_input
from deepo_beam.inputs.rows import InputOptions
from deepo_beam.inputs.times import with_times

__all__ = ["InputKind", "InputOptions", "classify_input", "counted", "expand_input", "listed", "with_times"]
