from typing import Any


def make_page(report: dict[str, Any]) -> str:
    return ""
