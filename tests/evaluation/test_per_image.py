"""`per_image.csv` as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.core.errors import DataError
from segtune.evaluation.per_image import read_scores


def test_rows_become_one_value_per_image_model_and_mode(tmp_path):
    """Images keep the table's order, and what was not scored is NaN."""
    path = tmp_path / "per_image.csv"
    path.write_text("image,model,mode,iou,dice\nb,tuned,box,0.5,.6\na,tuned,box,0.25,.4\na,pretrained,box,0.75,.8\n")
    scores = read_scores(path)
    assert scores.images == ("b", "a")
    assert scores.of("tuned", "box").tolist() == [0.5, 0.25]
    assert np.isnan(scores.of("pretrained", "box")[0])
    assert scores.paired("tuned", "pretrained", "box").tolist() == [1]
    assert scores.scored("pretrained", "box").tolist() == [0.75]
    assert np.isnan(scores.of("nobody", "box")).all()


def test_images_without_objects_have_no_score(tmp_path):
    """A row whose IoU is blank is of an image without objects, not an image of IoU 0."""
    path = tmp_path / "per_image.csv"
    path.write_text("image,model,mode,iou,false_mask\nnone.png,tuned,empty,,1\nsome.png,tuned,box,0.5,\n")
    scores = read_scores(path)
    assert scores.scored("tuned", "empty").size == 0
    assert scores.paired("tuned", "tuned", "box").tolist() == [1]


def test_a_missing_table_is_no_error(tmp_path):
    """A report can be made of `metrics.json` alone."""
    assert read_scores(tmp_path / "per_image.csv") is None


@pytest.mark.parametrize(
    ("text", "said"), [("image,model,iou\n", "lacks mode"), ("image,model,mode,iou\na,b,c,many\n", "'many'")]
)
def test_another_table_is_named(tmp_path, text, said):
    """A table without the columns, or with words for numbers, is refused with its reason."""
    path = tmp_path / "per_image.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_scores(path)
