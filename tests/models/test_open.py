"""A model by every name it can have, and what is said when it cannot be opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from segtune.core.errors import ModelError, UsageError
from segtune.core.files import RUN_SETTINGS
from segtune.models import FAMILIES
from segtune.models import open as module
from segtune.models.open import open_model
from segtune.models.sam.model import Sam
from segtune.models.save import save_model, save_original


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.fixture
def folder(sam: Sam, tmp_path: Path) -> Path:
    """A saved model."""
    save_model(sam, tmp_path / "base", extra={})
    return tmp_path / "base"


def test_a_run_folder_opens_its_model(sam: Sam, tmp_path: Path) -> None:
    """A run is named by its folder; the model lies in it."""
    save_model(sam, tmp_path / "run" / "model", extra={})
    assert same_weights(open_model(tmp_path / "run"), sam)
    assert same_weights(open_model(str(tmp_path / "run")), sam)


def test_a_folder_of_transformers_needs_no_record_of_ours(sam: Sam, folder: Path) -> None:
    """Without segtune.json the preparation is SAM's, with the mean and std the folder states."""
    (folder / "segtune.json").unlink()
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    processor["image_mean"] = [0.5, 0.5, 0.5]
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    opened = open_model(folder)
    assert same_weights(opened, sam)
    assert opened.preparation.kind == "longest_side"
    assert opened.preparation.mean == pytest.approx((127.5, 127.5, 127.5))


def test_weights_in_shards_and_in_a_pickle(sam: Sam, folder: Path) -> None:
    """Sharded safetensors and pytorch_model.bin are read as one file is."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, kept in shards.items():
        save_file({name: tensors[name] for name in kept}, folder / shard)
    places = {name: shard for shard, kept in shards.items() for name in kept}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert same_weights(open_model(folder), sam)
    (folder / "model.safetensors.index.json").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    assert same_weights(open_model(folder), sam)


@pytest.mark.parametrize("wrapped", [None, "model", "state_dict"])
def test_an_original_checkpoint(sam: Sam, tmp_path: Path, wrapped: str | None) -> None:
    """A plain state dict, or the checkpoint of a training script that holds it under a key."""
    state = sam.state_dict()
    torch.save(state if wrapped is None else {wrapped: state, "epoch": 3}, tmp_path / "sam.pth")
    opened = open_model(tmp_path / "sam.pth")
    assert same_weights(opened, sam)
    assert opened.preparation.kind == "longest_side"


def test_medsam_is_known_by_its_name_or_said(sam: Sam, tmp_path: Path) -> None:
    """MedSAM's own preparation comes with its name, can be set, and stays with what is saved from it."""
    for name in ("medsam_vit_b.pth", "other.pth"):
        save_original(sam, tmp_path / name)
    by_name = open_model(tmp_path / "medsam_vit_b.pth")
    assert by_name.preparation.kind == "stretched"
    assert open_model(tmp_path / "other.pth", preparation="stretched").preparation.kind == "stretched"
    assert open_model(tmp_path / "medsam_vit_b.pth", preparation="longest_side").preparation.kind == "longest_side"
    save_model(by_name, tmp_path / "tuned", extra={})
    assert open_model(tmp_path / "tuned").preparation.kind == "stretched"


def test_only_its_own_name_tells_of_medsam(
    sam: Sam, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder that a model lies in does, but for a repository's in the hub's cache; '.' has the folder's name."""
    inside = tmp_path / "medsam-against-sam"
    inside.mkdir()
    save_original(sam, inside / "sam.pth")
    assert open_model(inside / "sam.pth").preparation.kind == "longest_side"
    plain = tmp_path / "hub" / "models--wanglab--medsam-vit-base" / "snapshots" / "a1"
    shutil.copytree(folder, plain)
    (plain / "segtune.json").unlink(missing_ok=True)
    assert open_model(plain).preparation.kind == "stretched"
    (inside / "medsam_vit_b.pth").symlink_to(inside / "sam.pth")
    assert open_model(inside / "medsam_vit_b.pth").preparation.kind == "stretched"
    monkeypatch.chdir(shutil.copytree(plain, tmp_path / "medsam"))
    assert open_model(".").preparation.kind == "stretched"


def test_the_record_outweighs_the_name(sam: Sam, tmp_path: Path) -> None:
    """A folder that happens to be called medsam keeps the preparation its record states."""
    save_model(sam, tmp_path / "medsam-experiments" / "model", extra={})
    assert open_model(tmp_path / "medsam-experiments").preparation.kind == "longest_side"


def test_nano_comes_from_the_package(sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name nano means the package's own weights; when they are missing the installation is at fault."""
    monkeypatch.setattr(module, "NANO", tmp_path / "nano")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="Install segtune again"):
        open_model("nano")
    save_model(sam, tmp_path / "nano", extra={}, half=True)
    opened = open_model("nano")
    assert all(value.dtype == torch.float32 for value in opened.parameters())
    assert torch.equal(opened.image_encoder.pos_embed, sam.image_encoder.pos_embed.half().float())


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    """A pickle that would run code is not opened."""
    marker = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return (Path.touch, (marker,))

    torch.save({"image_encoder.pos_embed": Attack()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="holds code besides tensors, which is never run"):
        open_model(tmp_path / "evil.pth")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_a_damaged_file_is_named(sam: Sam, tmp_path: Path, name: str) -> None:
    """A file cut short is an error that names it."""
    save_original(sam, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=name):
        open_model(tmp_path / name)


def test_a_folder_cut_short_is_named(folder: Path) -> None:
    """Weights cut short, or missing, are errors that name the place."""
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        open_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        open_model(folder)


def test_weights_of_another_shape_are_refused(sam: Sam, tmp_path: Path) -> None:
    """A checkpoint whose parts do not fit each other loads nothing."""
    state = sam.state_dict() | {"mask_decoder.mask_tokens.weight": torch.zeros(4, 8)}
    torch.save(state, tmp_path / "mixed.pth")
    with pytest.raises(ModelError, match=r"mask_decoder\.mask_tokens\.weight.*\(4, 8\).*\(4, 32\)"):
        open_model(tmp_path / "mixed.pth")


def test_a_checkpoint_left_over_is_named(sam: Sam, tmp_path: Path) -> None:
    """An original checkpoint with an extra weight is refused by name."""
    torch.save(sam.state_dict() | {"mask_decoder.surprise.weight": torch.zeros(1, 8)}, tmp_path / "more.pth")
    with pytest.raises(ModelError, match=r"1 left over \(mask_decoder\.surprise\.weight\)"):
        open_model(tmp_path / "more.pth")


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    """Weights of no known family are told apart from a damaged file."""
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    with pytest.raises(ModelError, match="no checkpoint of a known family"):
        open_model(tmp_path / "resnet.pth")


def test_a_folder_of_another_type(folder: Path) -> None:
    """A transformers model that is no SAM is named with what is known."""
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ModelError, match=r"'vit'.*sam"):
        open_model(folder)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    """A folder of something else says what a model folder holds."""
    with pytest.raises(ModelError, match="holds no model"):
        open_model(tmp_path)


@pytest.mark.parametrize("spec", ["nanno", "missing.pth", "some/where/deep", "models/missing.pth"])
def test_what_is_not_there(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is nothing says what a model may be, with the nearest known one; the network is not asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "fetch", lambda _: pytest.fail("the hub was asked"))
    with pytest.raises(ModelError, match=f"There is no model '{spec}'") as caught:
        open_model(spec)
    assert ("Did you mean 'nano'" in str(caught.value)) == (spec == "nanno")


def test_what_a_run_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter that a run has not made is no hub id, though it looks like one."""
    (tmp_path / "polyps").mkdir()
    (tmp_path / "polyps" / RUN_SETTINGS).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "fetch", lambda _: pytest.fail("the hub was asked"))
    with pytest.raises(ModelError, match="run in polyps holds no 'adapter'"):
        open_model("polyps/adapter")


def test_a_hub_id_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offline and not in the local copy: one paragraph that says what to do."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="'somebody/sam-vit-nowhere' is not on this machine") as caught:
        open_model("somebody/sam-vit-nowhere")
    assert "'nano' is built in" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"cos\n", b"\xff\xfe" * 20, b"(lp0\n", b"K"])
def test_bytes_that_are_no_weights_are_named(tmp_path: Path, content: bytes) -> None:
    """However torch's reader stumbles over them."""
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.pth cannot be read as a file of weights"):
        open_model(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["config.json", "segtune.json", "preprocessor_config.json"])
def test_a_folder_s_json_that_is_cut_short_is_named(sam: Sam, tmp_path: Path, name: str) -> None:
    """Each of the files that say what the weights are."""
    save_model(sam, tmp_path)
    if name == "preprocessor_config.json":
        (tmp_path / "segtune.json").unlink()
    (tmp_path / name).write_text('{"image_mean": [')
    with pytest.raises(ModelError, match=f"{name} cannot be read as JSON"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", "[]", "holds no JSON object"),
        ("segtune.json", '{"a": 1}', "does not say 'preparation'"),
        ("segtune.json", "[1]", "does not say 'preparation'"),
        ("model.safetensors.index.json", "{}", "does not say 'weight_map'"),
    ],
)
def test_json_that_says_something_else_is_named(sam: Sam, tmp_path: Path, name: str, content: str, told: str) -> None:
    """It can be read, and is not what its name says."""
    save_model(sam, tmp_path)
    if "index" in name:
        (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=f"{name} {told}"):
        open_model(tmp_path)


def test_a_hub_id_comes_from_the_hub(sam: Sam, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the hub's client fetched is opened as a folder, and pickled weights are only asked for without others."""
    asked: list[list[str]] = []

    def snapshot_download(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        local = tmp_path / "fetched"
        local.mkdir(exist_ok=True)
        shutil.copy(folder / "config.json", local)
        if "pytorch_model.bin" in allow_patterns:
            torch.save(load_file(folder / "model.safetensors"), local / "pytorch_model.bin")
        return str(local)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    opened = open_model("wanglab/medsam-vit-base")
    assert same_weights(opened, sam)
    assert opened.preparation.kind == "stretched"
    assert ["pytorch_model.bin" in patterns for patterns in asked] == [False, True]


def test_an_unknown_family_is_named() -> None:
    """The registry of families knows what it has."""
    with pytest.raises(UsageError, match="model family named 'sam9'"):
        FAMILIES["sam9"]


def test_extra_entries_of_the_record(sam: Sam, tmp_path: Path) -> None:
    """What a run says of itself is kept beside the model, and cannot overwrite what the model says."""
    save_model(sam, tmp_path, extra={"crowned": True, "family": "other"})
    record = json.loads((tmp_path / "segtune.json").read_text())
    assert record["crowned"] is True
    assert record["family"] == "sam"
    assert record["preparation"]["kind"] == "longest_side"
