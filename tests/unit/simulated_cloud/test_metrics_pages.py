"""What the simulated deployments show is read back as it was shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.catalog.scraped import BY_SAMPLE_NAME, SERVE_PROCESSING
from controller.collectors.exposition import read_exposition
from controller.domain.scrape import Sample
from controller.simulated_cloud.metrics_pages import exposition


@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40),
    value=st.floats(allow_nan=False),
)
def test_a_sample_comes_back_whatever_its_labels_are(name: str, value: float) -> None:
    labels = (("WorkerId", "w"), ("application", name), ("deployment", "d"), ("replica", "r"))
    sample = Sample(SERVE_PROCESSING.name, labels, value)

    found, problems = read_exposition(exposition([sample]).encode(), BY_SAMPLE_NAME)

    assert problems == ()
    assert found == (sample,)
