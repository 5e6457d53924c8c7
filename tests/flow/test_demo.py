"""The demo, made small: images that segtune draws, the built-in model, and a gain that is proven."""

import json


def test_the_demo_proves_a_gain(tmp_path, answer):
    """Tuned on drawn lumps, nano gains: the 95 % interval of the mean lies above zero for a single click."""
    code, found = answer("demo", "--out", tmp_path / "demo", "--images", "80", "--epochs", "2")
    assert code == 0
    assert found["crowned"] is True
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    gains = [d for d in metrics["differences"] if d["metric"] == "iou" and d["against"] == "pretrained"]
    assert len(gains) == 8
    proven = [gain["mode"] for gain in gains if gain["low"] > 0]
    assert {"click", "random_click"} & set(proven), metrics["verdict"]
    assert "raised IoU" in found["verdict"]
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000
