"""`segtune clicks` through the real command line."""

import json


def test_the_figures_the_table_and_the_picture(answer, segtune, discs, micro, tmp_path):
    code, facts = answer("clicks", micro, discs, "--out", tmp_path / "clicks", "--against", "nano", "--clicks", "3")
    assert code == 0
    assert [len(curve["iou"]) for curve in facts["curves"]] == [3, 3]
    assert facts["objects"] == 29
    stored = json.loads((tmp_path / "clicks" / "clicks.json").read_text())
    assert stored["curves"] == facts["curves"]
    page = (tmp_path / "clicks" / "clicks.md").read_text()
    assert "NoC@90" in page
    assert page.count("\n| ") == 3
    assert (tmp_path / "clicks" / "clicks.svg").read_text().startswith("<svg")
    assert len((tmp_path / "clicks" / "clicks_per_object.csv").read_text().splitlines()) == 1 + 2 * 29

    code, out, _ = segtune("clicks", micro, discs, "--out", tmp_path / "again", "--clicks", "2")
    assert code == 0
    assert "never get there" in out


def test_a_run_folder_is_not_written_into(segtune, discs, micro, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.yaml").write_text("")
    code, _, err = segtune("clicks", micro, discs, "--out", tmp_path / "run")
    assert code == 2
    assert "another folder" in err
