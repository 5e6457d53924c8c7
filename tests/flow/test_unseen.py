"""Other domains: the real command line on a model and two folders."""

from disc_data import write_discs


def test_a_model_is_held_against_itself_on_other_data(discs, micro, tmp_path, segtune, answer):
    """One table of both, in text, as JSON, and in the report; broken data is told before anything is scored."""
    other = write_discs(tmp_path / "other", 4, seed=3)
    words = ("evaluate", micro, discs, "--out", tmp_path / "out", "--modes", "click,box", "--unseen", other)
    code, out, _ = segtune(*words)
    assert code == 0
    assert "IoU of micro on other (4 images)" in out
    assert [line.split()[0] for line in out.splitlines() if " micro " in line and not line.startswith("IoU")] == [
        "discs", "other",
    ]  # fmt: skip
    third = write_discs(tmp_path / "third", 3, seed=5)
    code, found = answer(*words, "--unseen", third)
    assert [(one["name"], one["images"]) for one in found["unseen"]] == [("other", 4), ("third", 3)]
    unseen = found["unseen"][0]
    assert (unseen["name"], unseen["images"]) == ("other", 4)
    assert {(one["mode"], one["metric"]) for one in unseen["drops"]} >= {("click", "iou"), ("box", "dice")}
    assert (tmp_path / "out" / "unseen" / "other" / "per_image.csv").is_file()
    assert 'id="unseen"' in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    code, _, err = segtune(*words, "--unseen", tmp_path / "nowhere")
    assert code == 4
    assert "nowhere" in err
