"""Where ``vigie`` and ``python -m vigie`` begin."""

from __future__ import annotations

from vigie.application import make_app


def main() -> None:
    """Run the command line."""
    make_app()(prog_name="vigie")


if __name__ == "__main__":
    main()
