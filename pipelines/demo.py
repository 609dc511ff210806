"""What ``make demo`` runs: real photographs, real models, the real command, and SQL over the tables.

Everything happens on this machine and in ``demo/``, made anew each time: the service is the emulator, the
pictures ship inside installed packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from importlib.resources import as_file, files
from pathlib import Path

import duckdb
import numpy as np
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits

from deepo_beam.emulator.testing import running_emulator

DEMO = Path("demo")  # below the checkout: see main
PHOTOGRAPHS = {
    "skimage.data": (
        "astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "hubble_deep_field.jpg",
        "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
    ),
    "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
}  # fmt: skip

FACES = """
    SELECT parse_filename(image_uri) AS image, count(*) AS faces, round(max(score), 2) AS best_score,
           format('{:.2f} {:.2f} {:.2f} {:.2f}', arg_max(bbox_xmin, score), arg_max(bbox_ymin, score),
                  arg_max(bbox_xmax, score), arg_max(bbox_ymax, score)) AS best_box
    FROM read_parquet('demo/lake-faces/labels/*/*.parquet')
    WHERE is_predicted GROUP BY image_uri ORDER BY faces DESC, image
"""
COLOURS = """
    SELECT parse_filename(image_uri) AS image, string_agg(label_name, ', ' ORDER BY score DESC) AS colours
    FROM read_parquet('demo/lake-colours/labels/*/*.parquet')
    WHERE is_predicted GROUP BY image_uri ORDER BY image
"""
DIGITS = """
    SELECT regexp_extract(parse_filename(image_uri), 'digit-(\\d)', 1) AS written, count(*) AS labelled,
           count(*) FILTER (label_name = written) AS read_right,
           coalesce(string_agg(label_name, ' ') FILTER (label_name <> written), '') AS mistaken_for
    FROM read_parquet('demo/lake-digits/labels/*/*.parquet')
    WHERE prediction_index = 0 GROUP BY written ORDER BY written
"""

console = Console(highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Collect the images, label them with three models, query the tables."""
    started = time.monotonic()
    os.chdir(Path(__file__).parents[1])
    shutil.rmtree(DEMO, ignore_errors=True)
    collect_photographs(DEMO / "photos")
    held_out = write_digits(DEMO / "digits")
    console.print("A lake of images: photographs in demo/photos, handwritten digits in demo/digits.\n")

    with running_emulator(latency=0.2) as emulator:
        service = {"DEEPOMATIC_API_URL": emulator.url, "DEEPOMATIC_API_KEY": "demo"}
        console.print("A service with real models on this machine (deepo-beam emulator --latency 0.2):")
        for name, value in service.items():
            console.print(f"$ export {name}={value}", style="bold")
        label("photos", "faces", service)
        label("photos", "colours", service)
        label("digits", "digits", service)

    console.rule("Faces: where they are (xmin ymin xmax ymax, as shares of the image)")
    query(FACES)
    console.rule("Colours")
    query(COLOURS)
    console.rule(f"Digits: {held_out} that the model never saw, against the digit in the file's name")
    query(DIGITS)
    right = duckdb.sql(DIGITS).sum("read_right").fetchall()[0][0]
    console.print(f"{right} of {held_out} digits read right: {right / held_out:.1%}\n")
    say_what_next(time.monotonic() - started)


def collect_photographs(folder: Path) -> None:
    """Copy what ships with scikit-image and scikit-learn; of its small portraits make 3 sheets of 12."""
    folder.mkdir(parents=True)
    for package, names in PHOTOGRAPHS.items():
        for name in names:
            with as_file(files(package) / name) as path:
                shutil.copy(path, folder / name)
    with as_file(files("skimage.data") / "lfw_subset.npy") as path:
        portraits = (np.load(path)[:36] * 255).astype(np.uint8)  # 25 x 25 greys; faces come first in the file
    for sheet, dozen in enumerate(portraits.reshape(3, 3, 4, 25, 25), start=1):
        mosaic = Image.fromarray(np.block([list(row) for row in dozen]))
        mosaic.resize((600, 450), Image.Resampling.BICUBIC).save(folder / f"portraits-{sheet}.png")


def write_digits(folder: Path) -> int:
    """Write handwritten digits as ``digit-<what it is>-<index>.png``; the model was trained on others.

    Returns:
        How many were written.
    """
    folder.mkdir(parents=True)
    digits = load_digits()
    held_out = range(4, len(digits.target), 5)[:100]  # digits-v1 learns from all but every fifth
    for index in held_out:
        grey = Image.fromarray((digits.images[index] * (255 / 16)).astype(np.uint8))
        name = f"digit-{digits.target[index]}-{index:04}.png"
        grey.resize((64, 64), Image.Resampling.NEAREST).save(folder / name)
    return len(held_out)


def label(images: str, model: str, service: dict[str, str]) -> None:
    """Run ``deepo-beam label`` as one would type it; where it fails, the demo ends with its exit code."""
    command = f"deepo-beam label demo/{images} --output demo/lake-{model} --spec {model}-v1"
    console.print(f"\n$ {command}", style="bold")
    scripts = Path(sys.executable).parent
    environment = {**os.environ, **service, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(command.split(), env=environment, check=False)  # noqa: S603 -- our own words
    if ended.returncode:
        sys.exit(ended.returncode)


def query(sql: str) -> None:
    """Print a query, and its rows as a table."""
    console.print(textwrap.dedent(sql), style="dim")
    duckdb.sql(sql).show(max_rows=30)


def say_what_next(seconds: float) -> None:
    """Say where everything is, and what to try."""
    console.rule(f"Done in {seconds:.0f} s")
    console.print(
        "The tables are Parquet files: demo/lake-*/{labels,images,errors}/run_id=*/part-*.parquet\n"
        "Next:\n"
        "  .venv/bin/deepo-beam label --help          every option\n"
        "  .venv/bin/deepo-beam emulator --help       the same service, with faults to order\n"
        "  README.md                                  your own images, the real service"
    )


if __name__ == "__main__":
    main()
