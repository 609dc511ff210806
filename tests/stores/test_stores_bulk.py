"""The whole job from and to each store, as a user types it: images, journal, leases and tables are in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_tools import OUTCOMES, Ended, assert_adds_up, assert_labels_follow_the_rule, finish, picture, process, rows
from store_tools import Store

from deepo_beam.emulator.testing import RunningEmulator

IMAGES = 60
LIMIT_S = 120
MULTI_PROCESSING = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def label(store: Store, service: RunningEmulator, *flags: str, **environ: str | None) -> Ended:
    """``deepo-beam label`` of ``photos`` into ``lake``."""
    line = ["label", f"{store.root}/photos", "--output", f"{store.root}/lake", "--spec", "echo-v1", "--json"]
    line += ["--buckets", "3", "--quiet", "--api-url", service.url, *flags]
    return finish(process(*line, environ={"PYTHONWARNINGS": "error::ResourceWarning", **environ}), limit_s=LIMIT_S)


def put_pictures(store: Store, count: int = IMAGES) -> dict[str, bytes]:
    """Pictures in two folders and in folders of these, by URI."""
    names = [f"photos/{'abc'[number % 3]}/{number % 2}/image-{number:03}.png" for number in range(count)]
    return {store.put(name, data): data for number, name in enumerate(names) if (data := picture(number))}


def spelled(uri: str) -> str:
    """As tables spell it."""
    return uri.replace("azfs://", "abfs://")


def test_all_of_a_folder_is_labelled_once(store: Store, service: RunningEmulator, tmp_path: Path) -> None:
    images = put_pictures(store)
    first = label(store, service)
    assert first.code == 0, first.err
    assert "Traceback" not in first.err
    assert_adds_up(first.summary)
    assert first.summary["succeeded"] + first.summary["no_detection"] == first.summary["calls"] == IMAGES

    lake = store.copy_to(tmp_path, "lake")
    assert_labels_follow_the_rule(lake, {spelled(uri): data for uri, data in images.items()})
    assert sorted(row["image_uri"] for row in rows(lake, "images")) == sorted(map(spelled, images))
    assert rows(lake, "errors") == []

    second = label(store, service)
    assert second.code == 0, second.err
    assert (second.summary["calls"], second.summary["reused"]) == (0, IMAGES)
    assert service.stats()["accepted"] == IMAGES
    for command in ("verify", "status"):
        ended = finish(process(command, f"{store.root}/lake", "--json"), limit_s=LIMIT_S)
        assert ended.code == 0, ended.out + ended.err
    assert {name for name in OUTCOMES if second.summary[name]} == {"reused"}


def test_two_processes_reach_it_too(store: Store, service: RunningEmulator, tmp_path: Path) -> None:
    images = put_pictures(store, 12)
    ended = label(store, service, "--", *MULTI_PROCESSING)
    assert ended.code == 0, ended.err
    assert ended.summary["calls"] == len(images)
    lake = store.copy_to(tmp_path, "lake")
    assert_labels_follow_the_rule(lake, {spelled(uri): data for uri, data in images.items()})


@pytest.mark.parametrize("mode", [(), MULTI_PROCESSING], ids=["one process", "two processes"])
def test_beams_own_options_reach_workers_where_the_environment_says_nothing(
    store_with_options: Store, service: RunningEmulator, mode: tuple[str, ...]
) -> None:
    store = store_with_options
    put_pictures(store, 6)
    ended = label(store, service, "--", *mode, *store.beam_flags)
    assert ended.code == 0, ended.err
    assert ended.summary["calls"] == 6
    listed = finish(process("status", f"{store.root}/lake", "--", *store.beam_flags), limit_s=LIMIT_S)
    assert listed.code == 0, listed.err
