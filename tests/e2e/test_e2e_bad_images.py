"""A bad image is a row in errors/ that says what is wrong, and never stops the others."""

import os
import struct
from pathlib import Path

import pytest
from e2e_tools import (
    assert_adds_up,
    assert_labels_follow_the_rule,
    by_name,
    label,
    picture,
    rows,
    write_pictures,
)

from deepo_beam.emulator.testing import running_emulator

ODD_NAMES = (
    "with space.png",
    "100%.png",
    "%41.png",
    "hash#1.png",
    "query?a=1&b=2.png",
    "naïve-日本-🐟.png",
    "brackets[1].png",
    "plus+and,comma.png",
    "'quoted\".png",
)


@pytest.fixture(scope="module")
def mixed_run(healthy_service, tmp_path_factory):
    """One run over every kind of bad image among good ones; 10 kB is the most that an image may have."""
    folder = tmp_path_factory.mktemp("mixed")
    images = write_pictures(folder / "images", 6)
    jpeg = picture(50, "JPEG", (90, 90))
    bad = {
        "empty.png": b"",
        "text.jpg": b"this is a text, whatever its name\n",
        "page.png": b"<html><body>Not found</body></html>",
        "truncated.jpeg": jpeg[: len(jpeg) // 2],
        "header-only.png": picture(51)[:20],
        "large.bmp": picture(52, "BMP", (80, 80)),
    }
    for name, data in bad.items():
        (folder / "images" / name).write_bytes(data)
    (folder / "images" / "link.png").symlink_to(folder / "nowhere.png")
    healthy_service.reset()
    ended = label(folder / "images", folder / "out", healthy_service, "--max-image-bytes", "10kB")
    return ended, folder / "out", images, healthy_service.stats()


def test_bad_images_do_not_stop_the_good_ones_and_cost_nothing(mixed_run):
    ended, output, images, stats = mixed_run

    assert ended.code == 0
    assert_adds_up(ended.summary)
    assert (ended.summary["listed"], ended.summary["failed"], ended.summary["calls"]) == (13, 7, 6)
    assert stats["accepted"] == 6
    assert_labels_follow_the_rule(output, images)


@pytest.mark.parametrize(
    ("name", "stage", "code", "words"),
    [
        ("empty.png", "validate", "empty_file", "empty"),
        ("text.jpg", "validate", "not_an_image", "text"),
        ("page.png", "validate", "not_an_image", "HTML"),
        ("truncated.jpeg", "validate", "truncated_image", "image/jpeg"),
        ("header-only.png", "validate", "truncated_image", "image/png"),
        ("large.bmp", "validate", "image_too_large", "10,000"),
        ("link.png", "read", "object_missing", "link.png"),
    ],
)
def test_each_bad_image_has_a_row_that_says_what_is_wrong(name, stage, code, words, mixed_run):
    ended, output, _, _ = mixed_run

    error = by_name(output, "errors")[name]
    assert (error["stage"], error["error_code"], error["retryable"]) == (stage, code, False)
    assert words in error["error_message"]
    assert (error["task_id"], error["http_status"]) == (None, None)
    image = by_name(output, "images")[name]
    assert (image["status"], image["error_code"], image["calls"]) == ("failed", code, 0)
    assert code == "object_missing" or image["size_bytes"] == (mixed_run[1].parent / "images" / name).stat().st_size
    assert ended.summary["errors_by_code"][code] >= 1


def test_a_bad_image_is_skipped_by_the_next_run_unless_all_are_to_be_tried_again(service, tmp_path):
    images = write_pictures(tmp_path / "images", 1)
    (tmp_path / "images" / "text.jpg").write_bytes(b"text")
    run = (tmp_path / "images", tmp_path / "out", service)
    assert label(*run).summary["failed"] == 1

    again = label(*run)
    forced = label(*run, "--retry", "all")

    assert (again.code, again.summary["skipped"], again.summary["reused"]) == (0, 1, 1)
    assert (forced.code, forced.summary["failed"], forced.summary["reused"]) == (3, 1, 1)
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_a_folder_of_no_images_exits_3_with_a_row_for_each_file(service, tmp_path):
    (tmp_path / "notes").mkdir()
    for name in ("a.txt", "b.md"):
        (tmp_path / "notes" / name).write_text("a note")

    ended = label(tmp_path / "notes", tmp_path / "out", service)

    assert (ended.code, ended.summary["errors_by_code"]) == (3, {"not_an_image": 2})
    assert sorted(by_name(tmp_path / "out", "errors")) == ["a.txt", "b.md"]
    assert service.stats()["accepted"] == 0


def test_an_image_that_the_server_refuses_with_413_is_a_row_and_is_not_posted_again(tmp_path):
    images = write_pictures(tmp_path / "images", 3)
    (tmp_path / "images" / "large.bmp").write_bytes(picture(9, "BMP", (60, 60)))

    with running_emulator(max_body=10_000) as service:
        ended = label(tmp_path / "images", tmp_path / "out", service)
        stats = service.stats()

    error = by_name(tmp_path / "out", "errors")["large.bmp"]
    assert (error["stage"], error["error_code"], error["http_status"]) == ("submit", "payload_too_large", 413)
    assert (ended.code, error["retryable"], ended.summary["possibly_billed_twice"]) == (0, False, 0)
    assert (stats["accepted"], stats["rejected"]) == (3, {"413": 1})
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_no_permission_to_read_an_image_is_a_row_of_its_own(service, tmp_path, monkeypatch):
    images = write_pictures(tmp_path / "images", 3)
    secret = next(iter(images))
    Path(secret).chmod(0)
    if os.access(secret, os.R_OK):  # nothing is forbidden to root
        opened = os.open

        def refuse(path, *args, **options):
            if str(path) == secret:
                raise PermissionError(13, "Permission denied", secret)
            return opened(path, *args, **options)

        monkeypatch.setattr(os, "open", refuse)

    ended = label(tmp_path / "images", tmp_path / "out", service)

    (error,) = rows(tmp_path / "out", "errors")
    assert (error["image_uri"], error["stage"], error["error_code"]) == (secret, "read", "permission_denied")
    assert secret in error["error_message"]
    assert (ended.code, ended.summary["calls"]) == (0, 2)
    del images[secret]
    assert_labels_follow_the_rule(tmp_path / "out", images)


def test_a_named_pipe_is_a_row_and_does_not_wait_for_a_writer(service, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    ended = label(tmp_path / "pipe.jpg", tmp_path / "out", service)
    (error,) = rows(tmp_path / "out", "errors")
    assert "not a regular file" in error["error_message"]
    assert (ended.code, ended.summary["calls"]) == (3, 0)


def test_a_header_that_claims_two_thousand_million_pixels_a_side_is_a_row_and_stops_nobody(service, tmp_path):
    images = write_pictures(tmp_path / "images", 2)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2**31, 4, 8, 2, 0, 0, 0)
    (tmp_path / "images" / "bomb.png").write_bytes(png + bytes(4) + struct.pack(">I4sI", 0, b"IEND", 0xAE426082))
    ended = label(tmp_path / "images", tmp_path / "out", service)
    (error,) = rows(tmp_path / "out", "errors")
    assert error["error_code"] == "not_an_image"
    assert ended.summary["calls"] == len(images)


# --- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named_by", ["folder", "glob", "list", "names"])
def test_names_with_spaces_percent_hash_and_other_scripts_are_taken_as_they_are(named_by, service, tmp_path):
    folder = tmp_path / "an odd [folder] 50%"
    folder.mkdir()
    images = {str(folder / name): picture(number) for number, name in enumerate(ODD_NAMES)}
    for path, data in images.items():
        Path(path).write_bytes(data)
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in images), encoding="utf-8")
    inputs = {
        "folder": [folder],
        "glob": [f"{tmp_path}/an odd*/*.png"],
        "list": [tmp_path / "list.txt"],
        "names": list(images),
    }

    ended = label(inputs[named_by], tmp_path / "out", service)

    assert (ended.code, ended.summary["listed"], ended.summary["failed"]) == (0, len(ODD_NAMES), 0)
    assert_labels_follow_the_rule(tmp_path / "out", images)
    assert {row["image_uri"] for row in rows(tmp_path / "out", "images")} == set(images)


def test_a_uri_listed_again_also_under_another_spelling_is_a_duplicate_and_the_first_wins(service, tmp_path):
    images = write_pictures(tmp_path / "images", 2)
    uri, other = images
    name = uri.rpartition("/")[2]
    spellings = [uri, f"images/{name}", f"images/./{name}", f"images/../images//{name}", f"file://{uri}", uri]
    colours = ["red", "red", "red", "red", "red", "blue"]
    lines = [f"{text},{colour}" for text, colour in zip(spellings, colours, strict=True)]
    (tmp_path / "list.csv").write_text("\n".join(["image_uri,colour", *lines, f"{other},green", ""]))

    ended = label([tmp_path / "list.csv", uri], tmp_path / "out", service)

    assert ended.code == 0
    assert_adds_up(ended.summary)
    found = {name: ended.summary[name] for name in ("listed", "duplicate", "duplicate_conflicts", "calls")}
    assert found == {"listed": 8, "duplicate": 6, "duplicate_conflicts": 2, "calls": 2}
    assert service.stats()["accepted"] == 2
    assert_labels_follow_the_rule(tmp_path / "out", images)
    assert by_name(tmp_path / "out", "images")[name]["attributes"] == [("colour", "red")]


def test_rows_of_a_list_that_name_no_image_are_rows_in_errors_with_their_line(service, tmp_path):
    images = write_pictures(tmp_path / "images", 1)
    good = next(iter(images))
    lines = [
        f'{{"image_uri": "{good}"}}',
        '{"image_uri": "gone.png"}',
        "{not json",
        '{"uri": "a.png"}',
        '{"image_uri": "a\\u0000b.png"}',
        '{"image_uri": "nowhere://bucket/a.png"}',
    ]
    source = tmp_path / "list.jsonl"
    source.write_text("\n".join(lines))

    ended = label(source, tmp_path / "out", service)

    assert (ended.code, ended.summary["listed"], ended.summary["failed"], ended.summary["calls"]) == (0, 6, 5, 1)
    assert_adds_up(ended.summary)
    found = {row["source"]: (row["stage"], row["error_code"]) for row in rows(tmp_path / "out", "errors")}
    assert found == {
        f"{source}:2": ("read", "object_missing"),
        f"{source}:3": ("list", "bad_manifest_row"),
        f"{source}:4": ("list", "bad_manifest_row"),
        f"{source}:5": ("list", "invalid_uri"),
        f"{source}:6": ("list", "invalid_uri"),
    }
    assert_labels_follow_the_rule(tmp_path / "out", images)
