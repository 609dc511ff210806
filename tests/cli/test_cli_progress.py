"""What a user sees while a run is under way."""

from deepo_beam.cli.progress import progress, progress_line
from deepo_beam.engine import Counters
from deepo_beam.inputs import counted
from deepo_beam.lake.workers import WorkerReport
from deepo_beam.types import ImageRef

REPORT = WorkerReport("run", "worker", "host", 1, Counters(calls=32, succeeded=30))


def test_while_images_are_listed_their_number_is_shown():
    assert progress_line([], 12.4, listed=1_234_567) == "listing  1,234,567 so far  12 s"


def test_nothing_is_said_of_a_number_that_is_not_known():
    assert progress_line([], 12.4) == "listing  12 s"


def test_once_they_are_labelled_the_labelled_ones_are():
    line = progress_line([REPORT], 10.0, listed=1000)

    assert line.startswith("30 labelled")
    assert "so far" not in line


def test_only_what_is_listed_meanwhile_counts(capsys, monkeypatch):
    monkeypatch.setattr("deepo_beam.cli.progress._LOG_S", 0.01)
    images = [ImageRef(f"{n:032x}", "s3://lake/x", "s3://lake/x") for n in range(40)]
    list(counted(images))

    with progress(None, quiet=False):
        said = ""
        for _ in counted(images):
            break
        while "so far" not in said:
            said += capsys.readouterr().err

    assert "listing  40 so far" in said
