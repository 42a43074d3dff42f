"""Two directories change places without a moment in which one is missing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serving.exchange import exchange


def test_neither_is_missing_at_any_moment(tmp_path: Path) -> None:
    """While two directories change places a thousand times, a file of either is always there."""
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
        (directory / "name").write_text(directory.name)
    if not exchange(one, other):
        pytest.skip("this file system cannot exchange two paths")
    assert ((one / "name").read_text(), (other / "name").read_text()) == ("other", "one")
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add((one / "name").read_text())

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(1001):
        assert exchange(one, other)
    done.set()
    looking.join()
    assert seen == {"one", "other"}
    assert (one / "name").read_text() == "one"


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """What cannot be exchanged is said, and nothing moved."""
    (tmp_path / "one").mkdir()
    with pytest.raises(OSError, match="one"):
        exchange(tmp_path / "one", tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
