"""``deepo platform model infer`` of deepomatic-cli, brought to start on a Python newer than it was made for.

    python -m benchmarks.bench.peers.deepo_cli FOLDER URL

It patches the standard library by gevent while it is imported, after which ``platform.platform()`` and whatever else
starts a process hang: that is asked for before, and GitPython, which asks git for its version, is stood in for (only
``deepo site`` uses it).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import types
from pathlib import Path

from benchmarks.bench.service import VERSION_ID


def main() -> None:
    """Label; every line of the output is an image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    options = parser.parse_args()
    os.environ.update(DEEPOMATIC_API_URL=options.url, DEEPOMATIC_API_KEY="benchmark")
    platform.platform()
    git = types.ModuleType("git")
    vars(git)["Repo"] = None
    sys.modules["git"] = git
    from deepomatic.cli.cli_parser import run

    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.jsonl"
        run(["platform", "model", "infer", "-i", str(options.folder), "-o", str(labels), "-r", str(VERSION_ID)])
        images, lines = len(list(options.folder.iterdir())), len(labels.read_text().splitlines())
    if lines != images:
        raise RuntimeError(f"{images} images, {lines} labelled")


if __name__ == "__main__":
    main()
