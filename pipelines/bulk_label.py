"""The bulk job as a script for a cluster: the options of ``deepo-beam label``, and Beam's own among them.

``python -m pipelines.bulk_label 's3://lake/photos/**.jpg' --output s3://lake/labels --spec my-model
--runner=FlinkRunner --flink_master=host:8081``

The job itself is :func:`deepo_beam.bulk.build`.
"""

from __future__ import annotations

import sys

from deepo_beam import bulk
from deepo_beam.cli import main
from deepo_beam.cli.options import split_beam_options

if __name__ == "__main__":
    ours, beam_flags = split_beam_options(sys.argv[1:], bulk.takes_value)
    main(["label", *ours], beam_flags)
