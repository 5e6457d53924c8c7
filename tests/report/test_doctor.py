"""What the data doctor found, as the report tells it."""

from __future__ import annotations

from segtune.report.doctor import describe_data, draw_object_sizes, list_findings
from segtune.report.run import read_run


def test_the_data_is_told_in_a_few_lines(run_folder):
    """Counts, sizes and likenesses come from the statistics; a single class is not worth a line."""
    told = dict(describe_data(read_run(run_folder).check))
    assert told["images"] == "266, 4 without objects"
    assert told["image size"] == "440 to 1920 px wide, 330 to 1080 high, 3 sizes"
    assert told["objects an image"] == "median 2, nine of ten 1 to 4"
    assert told["object size"] == "median 3.4 % of the image, nine of ten 0.4 % to 21 %"
    assert told["alike"] == "0 groups of equal images, 1 group of nearly equal ones"
    assert told["left out"] == "1"
    assert "classes" not in told


def test_classes_are_named_up_to_a_number():
    """Many classes are counted, not listed."""
    labels = {f"class{number}": 10 - number for number in range(10)}
    told = dict(describe_data({"images": 1, "objects": 55, "statistics": {"labels": labels}}))
    assert told["classes"].startswith("class0 10, class1 9")
    assert told["classes"].endswith("class7 3 and 2 more")


def test_images_of_one_size_are_told_shortly():
    """One size is a size, and one value has no range."""
    same = {"least": 512.0, "most": 512.0, "low": 1.0, "median": 1.0, "high": 1.0}
    statistics = {"image_size": {"distinct": 1, "width": same, "height": same}, "objects_per_image": same}
    told = dict(describe_data({"images": 9, "objects": 9, "statistics": statistics}))
    assert told["image size"] == "512 × 512 px"
    assert told["objects an image"] == "1"


def test_findings_keep_their_gravity(run_folder):
    """A warning is coloured, a note is not."""
    found = list_findings(read_run(run_folder).check)
    assert [(one.severity, one.tone) for one in found] == [("warning", "warning"), ("note", "")]
    assert found[0].title == "2 images nearly equal others."


def test_object_sizes_are_drawn(run_folder):
    """The histogram is there with its axis in per cent, and nothing is drawn of nothing."""
    chart = draw_object_sizes(read_run(run_folder).check)
    assert "512 objects" in chart.description
    assert "10 %" in chart.svg
    assert draw_object_sizes({}) is None
    assert draw_object_sizes({"statistics": {"object_share": {"histogram": [0, 0]}}}) is None


def test_no_check_tells_nothing():
    """A folder without `check.json` has no lines on the data."""
    assert describe_data({}) == list_findings({}) == []
