"""What the room offers."""

from __future__ import annotations

import serving


def test_public_names_are_sorted_and_there() -> None:
    """Every name of ``__all__`` exists, once, in order."""
    assert serving.__all__ == sorted(set(serving.__all__))
    assert all(hasattr(serving, name) for name in serving.__all__)
