"""Sizes and times that no listing told are asked for, and nothing else is."""

from pathlib import Path

import pytest

from deepo_beam import storage
from deepo_beam.errors import ErrorCode, Stage
from deepo_beam.inputs import with_times
from deepo_beam.types import Failure, ImageRef


def ref(location: str, **changes: object) -> ImageRef:
    return ImageRef("0" * 32, location, location, **changes)


def test_a_store_is_asked_only_where_the_listing_did_not_say_and_a_web_server_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, stat = [], storage.stat

    def noted(uri: str) -> storage.StoredObject:
        asked.append(uri)
        return stat(uri)

    monkeypatch.setattr(storage, "stat", noted)
    path = tmp_path / "a.jpg"
    path.write_bytes(b"123")
    spoiled = ref(str(path), problem=Failure(Stage.LIST, ErrorCode.INVALID_URI, "bad", retryable=False))
    told = [ref(str(path), size_bytes=9, modified_us=5), ref("HTTPS://h/a.jpg"), spoiled]
    (found, *others) = with_times([ref(str(path)), *told])
    assert asked == [str(path)]
    assert (found.size_bytes, found.modified_us) == (3, path.stat().st_mtime_ns // 1000)
    assert others == told


def test_an_image_that_cannot_be_looked_at_stays_as_it_is_and_in_its_place(tmp_path: Path) -> None:
    images = [ref(str(tmp_path / "none.jpg")), ref("s3://")]
    assert with_times(images) == images
