"""What is read of an image, and what is said of it, before it is posted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_tools import picture

from deepo_beam.config import LabelConfig
from deepo_beam.emulator.testing import RunningEmulator
from deepo_beam.engine import LoadedImage, LoadFailure
from deepo_beam.errors import ErrorCode
from deepo_beam.preflight import prepare
from deepo_beam.service import ServiceTransport
from deepo_beam.types import Facts, ImageRef
from deepo_beam.web import Download, WebReader

LIMIT = 100_000


@pytest.fixture
def transport(service: RunningEmulator) -> Iterator[ServiceTransport]:
    plan = prepare(LabelConfig.parse({"spec": "echo-v1", "max_image_bytes": LIMIT}, where="test"))
    made = ServiceTransport(plan)
    yield made
    made.close()


@pytest.mark.parametrize(("listed_us", "told_us"), [(7, 7), (None, 5)])
def test_an_image_is_as_old_as_its_listing_says_else_as_old_as_its_server_says(
    transport: ServiceTransport, monkeypatch: pytest.MonkeyPatch, listed_us: int | None, told_us: int
) -> None:
    data = picture(1)
    monkeypatch.setattr(WebReader, "read", lambda reader, url, max_bytes: Download(data, 5))
    loaded = transport.load(ImageRef("0" * 32, "http://h/a", "http://h/a", modified_us=listed_us))
    assert isinstance(loaded, LoadedImage)
    assert (loaded.facts.modified_us, loaded.facts.size_bytes) == (told_us, len(data))


def test_of_a_file_that_is_too_large_nothing_is_said_that_was_not_read(
    transport: ServiceTransport, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    for size, whole in ((LIMIT, True), (LIMIT + 1, False)):
        path.write_bytes(bytes(size))
        found = transport.load(ImageRef("0" * 32, str(path), str(path), size_bytes=12, modified_us=7))
        assert isinstance(found, LoadFailure)
        if whole:
            assert found.failure.code is ErrorCode.NOT_AN_IMAGE
            assert (found.facts.size_bytes, found.facts.content_sha256 is None) == (size, False)
        else:
            assert found.failure.code is ErrorCode.IMAGE_TOO_LARGE
            assert found.facts == Facts(size_bytes=12, modified_us=7)
