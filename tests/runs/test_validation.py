"""The score the best epoch is chosen by."""

import pytest
from small import discs

from segtune.evaluation.matrix import evaluate
from segtune.runs.validation import score_means


def test_validation_gives_the_means_of_the_matrix(micro):
    """By mode and metric, of the model alone: no shape that takes no skill mixes in."""
    part = discs(3)
    means = score_means(micro, part, modes=["click", "box"], seed=5)
    rows = evaluate({"m": micro}, part, modes=["click", "box"], seed=5, baselines=False).rows
    assert set(means) == {"click", "box"}
    assert {(mode, metric) for mode in means for metric in means[mode]} == {(row.mode, row.metric) for row in rows}
    for row in rows:
        assert means[row.mode][row.metric] == pytest.approx(row.mean, abs=1e-12)
