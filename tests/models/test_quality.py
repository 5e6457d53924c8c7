"""The map from predicted to told quality."""

import numpy as np
import pytest

from segtune.core.errors import ModelError
from segtune.core.files import read_json, write_json
from segtune.models.open import open_model
from segtune.models.quality import QualityMap, tell_quality
from segtune.models.save import QUALITY, RECORD, save_model


def test_scale_one_without_bias_leaves_predictions():
    """The neutral map gives back what it gets, within the ends it is held to."""
    quality = np.array([0.01, 0.5, 0.99])
    assert QualityMap(1.0, 0.0)(quality) == pytest.approx(quality)


def test_never_falls_and_stays_within_zero_and_one():
    """Whatever the head says, also beyond 0 and 1 and of no mask at all, the told quality rises with it."""
    said = np.array([-np.inf, -0.5, 0.0, 0.2, 0.7, 0.9, 1.0, 1.4])
    told = QualityMap(2.3, -0.7)(said)
    assert (np.diff(told) >= 0).all()
    assert (np.diff(told)[3:6] > 0).all()
    assert ((told > 0) & (told < 1)).all()
    assert len(set(QualityMap(0.0, 0.4)(said))) == 1


def test_extreme_numbers_do_not_overflow():
    """A steep map gives 0 and 1, not an overflow."""
    with np.errstate(all="raise", under="ignore"):
        assert QualityMap(1000.0, 0.0)([0.2, 0.8]).tolist() == [0.0, 1.0]


def test_without_a_map_the_prediction_itself_is_told():
    """Above one, too."""
    assert tell_quality(None, [1.02, 0.3]).tolist() == [1.02, 0.3]


def test_kept_with_the_model(tmp_path, sam):
    """What is saved with a model is opened with it, and a model without one has none."""
    save_model(sam, tmp_path / "plain")
    assert open_model(tmp_path / "plain").quality_map is None
    sam.quality_map = QualityMap(1.25, -0.5)
    save_model(sam, tmp_path / "mapped")
    assert open_model(tmp_path / "mapped").quality_map == QualityMap(1.25, -0.5)


@pytest.mark.parametrize("entry", [{"scale": 1}, {"scale": -1, "bias": 0}, {"scale": "x", "bias": 0}, [1, 2]])
def test_a_damaged_entry_is_told(tmp_path, sam, entry):
    """A map that could turn the order round, or is none, is an error that says what to do."""
    save_model(sam, tmp_path)
    write_json(tmp_path / RECORD, read_json(tmp_path / RECORD) | {QUALITY: entry})
    with pytest.raises(ModelError, match="segtune calibrate again"):
        open_model(tmp_path)
