"""The files of the project name nothing of the machine or of the people that made them."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = {
    "a path of one machine": r"(?<![\w.:/*}>-])/(?:work|root)/",
    "a package index by its host": r"\b(?:files\.pythonhosted|(?:test\.)?pypi)\.org\b|--(?:extra-)?index-url",
    "how the work was organised": (
        r"\b(?:this|helper|work(?:ing)?|coding|agent) sessions?\b|\bthe (?:architect|design doc|task brief)\b"
        r"|\b(?:issue|session) (?:no\. ?|#)?\d+\b|\bdesign\.md\b|\bshared/"
    ),
}


def texts() -> list[tuple[str, str]]:
    """Name and text of each file that is, or could be, committed, but for this one."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    ours = [path for path in paths if path.is_file() and path != Path(__file__)]
    return [(str(path.relative_to(ROOT)), path.read_bytes().decode(errors="replace")) for path in ours]


@pytest.mark.parametrize("what", NOT_OURS)
def test_no_file_names(what):
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(NOT_OURS[what], line, re.IGNORECASE)
    ]

    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of one machine", "see /work/notes.md"),
        ("a path of one machine", "cd '/root/clone'"),
        ("a package index by its host", "--index-url x"),
        ("how the work was organised", "as issue 3 says"),
        ("how the work was organised", "in this session"),
    ],
)
def test_the_patterns_find_what_they_are_for(what, line):
    assert re.search(NOT_OURS[what], line, re.IGNORECASE)


@pytest.mark.parametrize(
    "line", ["s3://lake/work/a.jpg", "requests.Session()", "a session per call", "{root}/work/x", "/network/"]
)
def test_the_patterns_leave_ordinary_text_alone(line):
    assert not [what for what, pattern in NOT_OURS.items() if re.search(pattern, line, re.IGNORECASE)]
