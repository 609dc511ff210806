"""The job as Dataflow would get it, built whole without a network: Beam's ``--dry_run``."""

from __future__ import annotations

import base64
import bz2
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from deepo_beam.bulk import build, pipeline_options
from deepo_beam.config import LabelConfig
from deepo_beam.emulator.testing import running_emulator
from deepo_beam.preflight import prepare

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
IMAGE = "europe-docker.pkg.dev/my-project/my-images/deepo-beam:1"
BEAMS_OWN = f"gcr.io/cloud-dataflow/v1beta3/beam_{PYTHON}_sdk:{beam.__version__}"
KEY = "key-c0ffee-c0ffee"
ROOT = Path(__file__).parents[2]
DATAFLOW = [
    "--runner=DataflowRunner",
    "--dry_run=True",
    "--project=my-project",
    "--region=europe-west1",
    "--temp_location=gs://my-bucket/tmp",
    "--staging_location=gs://my-bucket/staging",
    "--no_auth",
]
LAUNCHES = {
    "classic": [f"--setup_file={ROOT / 'setup.py'}"],
    "image": [f"--sdk_container_image={IMAGE}", "--sdk_location=container"],
}


def pickled(proto: beam_runner_api_pb2.Pipeline) -> Iterator[bytes]:
    """What the code of every step was pickled to; Beam packs it."""
    for transform in proto.components.transforms.values():
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload).do_fn.payload
            yield bz2.decompress(base64.b64decode(payload))


def environments_of(proto: beam_runner_api_pb2.Pipeline) -> tuple[set[str], set[str]]:
    """The images of workers, and the names of the files that they get."""
    images, staged = set(), set()
    for environment in proto.components.environments.values():
        images.add(beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image)
        for file in environment.dependencies:
            staged.add(beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(file.role_payload).staged_name)
    return images, staged


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of other machines are not resolved."""
    resolve = socket.getaddrinfo

    def here_only(host: str | None, *more: object, **named: object) -> object:
        if host not in (None, "localhost", "127.0.0.1"):
            raise AssertionError(f"{host} is asked for")
        return resolve(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", here_only)


@pytest.mark.parametrize("launch", LAUNCHES)
def test_the_whole_job_is_built_and_holds_no_key(
    tmp_path: Path, launch: str, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setenv("DEEPOMATIC_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)  # Beam writes its options there
    with running_emulator() as service:
        config = LabelConfig(inputs=["gs://my-bucket/*.jpg"], output=str(tmp_path), spec="echo-v1", api_url=service.url)
        plan = prepare(config, launched=True)
    options = pipeline_options(config, [*DATAFLOW, *LAUNCHES[launch]])
    pipeline = beam.Pipeline(options=options)
    build(pipeline, config, plan)
    proto = pipeline.run(test_runner_api=False).job.proto_pipeline
    steps = {transform.unique_name for transform in proto.components.transforms.values()}
    assert {"ListImages", "LabelImages", "PublishTables"} <= steps
    pickles = [*pickled(proto)]
    assert any(b"LabelBucketFn" in pickle for pickle in pickles)
    for data in (proto.SerializeToString(), *pickles):
        assert KEY.encode() not in data
        assert b"__main__" not in data
    images, staged = environments_of(proto)
    assert images == {IMAGE if launch == "image" else BEAMS_OWN}
    assert ("workflow.tar.gz" in staged) == (launch == "classic")
