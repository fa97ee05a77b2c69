"""docs/metrics.md is the catalogue."""

from pathlib import Path

from controller.catalog.document import document

DOCS = Path(__file__).parents[3] / "docs"


def test_the_metrics_page_is_up_to_date() -> None:
    page = (DOCS / "metrics.md").read_text()

    assert page == document(), "run: python -m controller.catalog.document > docs/metrics.md"
