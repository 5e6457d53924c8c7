"""Every way of training keeps the contract of `segtune.adapters`, on small random models."""

from __future__ import annotations

import copy
import pickle
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from segtune.adapters import WAYS
from segtune.adapters.scopes import Trainable, train_only
from segtune.adapters.way import parse_way
from segtune.core.errors import MissingExtraError, ModelError, UsageError
from segtune.core.types import Embedding, Prompts
from segtune.models import FAMILIES
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import hash_weights
from segtune.models.open import open_model
from segtune.models.save import save_adapter, save_model

pytest.importorskip("peft", reason="pip install 'segtune[peft]'")

EXAMPLES = {"late": "late:1"}
"""Of ways that need an option; all others are tested with their defaults."""

IMPORTANT = ("adalora", "bias", "bottleneck", "conv_lora", "dora", "lora", "norm", "pissa", "tokens")
"""Tested in every family; one at least of each mechanism."""

WITHOUT_LAYERS = {("edgetam", "conv_lora")}
"""Where there is nothing to adapt: an encoder of convolutions alone."""

KEPT = {"pissa": 2, "vera": 3}
"""Numbers an adapter keeps for each that trains: one, but for strengths; more with its start or frozen matrices."""

STEPS = 20
TOLERANCE = 1e-5


def make_model(family: str = "sam") -> PromptableModel:
    """A small random model of a family, the same every time."""
    try:
        return FAMILIES[family].tiny(torch.Generator().manual_seed(0))
    except MissingExtraError as error:
        pytest.skip(str(error))


def draw_images() -> list[np.ndarray]:
    """Two images with a bright disc each, not square."""
    rows, columns = np.mgrid[:48, :64]
    images = []
    for y, x in ((20, 22), (28, 40)):
        image = np.random.default_rng(y).integers(0, 80, (48, 64, 3), dtype=np.uint8)
        image[(rows - y) ** 2 + (columns - x) ** 2 < 100] += 120
        images.append(image)
    return images


CLICKS = Prompts(
    image_index=torch.tensor([0, 1]),
    points=torch.tensor([[[22.0, 20.0]], [[40.0, 28.0]]]),
    point_labels=torch.ones(2, 1, dtype=torch.int64),
    boxes=torch.zeros(2, 4),
    has_box=torch.zeros(2, dtype=torch.bool),
    has_mask=torch.zeros(2, dtype=torch.bool),
    mask_logits=None,
)


def answer(model: PromptableModel) -> Tensor:
    """The model's logits for a click on each disc, [2, 3, h, w]."""
    pixels, frames = model.prepare(draw_images())
    embedding: Embedding = model.encode(pixels, frames)
    return model.decode(embedding, CLICKS, torch.ones(2, dtype=torch.bool)).logits


def loss_of(model: PromptableModel) -> Tensor:
    """How far the masks are from the discs, in the model's own square."""
    logits = answer(model)
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in logits.shape[-2:]), indexing="ij")
    scale = model.side / 64 * logits.shape[-1] / model.side
    truth = torch.stack([
        ((rows / scale - y) ** 2 + (columns / scale - x) ** 2 < 100).float() for y, x in ((20, 22), (28, 40))
    ])  # fmt: skip
    return F.binary_cross_entropy_with_logits(logits, truth[:, None].expand_as(logits))


@dataclass(frozen=True)
class Tuned:
    """A way before and after a few steps."""

    model: PromptableModel
    trainable: Trainable
    at_start: Tensor
    installed: Tensor
    weights: dict[str, Tensor]
    first_loss: float
    last_loss: float


def tune(model: PromptableModel, way: str, steps: int) -> Tuned:
    """Tune a model on both discs."""
    at_start = answer(model).detach()
    trainable = train_only(model, EXAMPLES.get(way, way), seed=1)
    installed = answer(model).detach()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    first_loss = float(loss_of(model).detach())
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model.train()).backward()
        optimizer.step()
    return Tuned(model.eval(), trainable, at_start, installed, weights, first_loss, float(loss_of(model).detach()))


@pytest.fixture(scope="module", params=sorted(WAYS))
def tuned(request: pytest.FixtureRequest) -> Tuned:
    """Each way of training, tuned for 20 steps."""
    return tune(make_model(), request.param, STEPS)


def test_the_function_is_the_same_at_the_start(tuned):
    """Epoch 0 is the pretrained model, whatever was put into it."""
    assert torch.allclose(tuned.at_start, tuned.installed, atol=TOLERANCE)


def test_it_learns_and_nothing_else_moves(tuned):
    """After 20 steps the loss is lower, each way has moved something it names, and every other weight is bit-equal."""
    assert tuned.last_loss < tuned.first_loss
    names = set(tuned.trainable.names)
    moved = {name for name, value in tuned.model.state_dict().items() if not torch.equal(value, tuned.weights[name])}
    assert moved
    assert moved <= names
    sizes = {name: parameter.numel() for name, parameter in tuned.model.named_parameters()}
    assert tuned.trainable.parameters == sum(sizes[name] for name in names)
    assert f"{tuned.trainable.parameters:,} of {tuned.trainable.total:,} parameters" in str(tuned.trainable)


def test_no_weight_of_the_base_is_lost(tuned):
    """Beside what a way adds, the model has the base's weights; whatever is not named among them is the base's own."""
    base = make_model().state_dict()
    now = {name.replace(".base_layer.", "."): value for name, value in tuned.model.state_dict().items()}
    assert set(base) <= set(now)
    adapter = tuned.trainable.adapter
    # PiSSA takes a part out of the weights it adapts; all others leave every weight that does not train as it was.
    if adapter is not None and not adapter.spec.startswith("pissa"):
        trained = {name.replace(".base_layer.", ".") for name in tuned.trainable.names}
        assert all(torch.equal(base[name], now[name]) for name in base if name not in trained)


def test_every_stage_of_the_encoder_has_its_adapters(tuned):
    """Each parameter of the encoder falls under one stage, so that layer-wise rates know it."""
    stages = [prefix for stage in tuned.model.encoder_stages for prefix in stage]
    encoder = tuned.model.parts["image_encoder"]
    lead = next(name for name, module in tuned.model.named_modules() if module is encoder)
    for name, _ in tuned.model.named_parameters():
        if name.startswith(f"{lead}."):
            assert sum(name.startswith(prefix) for prefix in stages) == 1, name


def test_merged_equals_unmerged(tuned):
    """Merged into plain weights it is the same function under the base's own names; what cannot be says so."""
    adapter = tuned.trainable.adapter
    if adapter is None:
        pytest.skip("it trains the model's own weights")
    copied = copy.deepcopy(tuned.model)
    if adapter.mergeable:
        adapter.merge(copied)
        assert torch.allclose(answer(copied), answer(tuned.model), atol=TOLERANCE)
    else:
        with pytest.raises(ModelError, match="cannot be merged"):
            adapter.merge(copied)
        adapter.remove(copied)
        assert torch.allclose(answer(copied), tuned.at_start, atol=TOLERANCE)
    assert set(copied.state_dict()) == set(make_model().state_dict())
    assert copied.attached is None
    assert tuned.model.attached is adapter


def test_an_adapter_saved_alone_opens_on_its_base_and_on_no_other(tuned, tmp_path):
    """It is small, opens to the same function on its base, and names the base where the weights are others."""
    adapter = tuned.trainable.adapter
    if adapter is None:
        pytest.skip("it trains the model's own weights")
    base = make_model()
    save_model(base, tmp_path / "base")
    whose = {"name": str(tmp_path / "base"), "sha256": hash_weights(base)}
    save_adapter(tuned.model, adapter, tmp_path / "adapter", base=whose)
    alone, whole = tmp_path / "adapter" / "adapter.safetensors", tmp_path / "base" / "model.safetensors"
    kept = sum(value.numel() for value in load_file(alone).values())
    assert kept <= KEPT.get(adapter.spec.partition(":")[0], 1.01) * tuned.trainable.parameters
    assert alone.stat().st_size < 0.8 * whole.stat().st_size  # with rank 8 in a model of 32 channels, and many names
    opened = open_model(tmp_path / "adapter")
    assert torch.allclose(answer(opened), answer(tuned.model), atol=TOLERANCE)
    assert all(parameter.requires_grad for parameter in opened.parameters())
    other = FAMILIES["sam"].tiny(torch.Generator().manual_seed(9))
    save_model(other, tmp_path / "base")
    with pytest.raises(ModelError, match="other weights"):
        open_model(tmp_path / "adapter")


def test_a_model_with_it_is_saved_and_opened_like_any_other(tuned, tmp_path):
    """`save_model` keeps what was learned, leaves the model as it is, and only plain weights pass for SamModel's."""
    before = answer(tuned.model)
    save_model(tuned.model, tmp_path / "model", extra={"crowned": True})
    assert torch.equal(answer(tuned.model), before)
    opened = open_model(tmp_path / "model")
    assert torch.allclose(answer(opened), before, atol=TOLERANCE)
    plain = tuned.trainable.adapter is None or tuned.trainable.adapter.mergeable
    assert (tmp_path / "model" / "config.json").exists() is plain
    assert (opened.attached is None) is plain
    # Once more, from what was opened: nothing depends on the training having been here.
    save_model(opened, tmp_path / "again")
    assert torch.allclose(answer(open_model(tmp_path / "again")), before, atol=TOLERANCE)


def test_workers_get_it_with_the_model(tuned):
    """Pickled, as to another process, the model answers the same."""
    sent = pickle.loads(pickle.dumps(tuned.model))
    assert torch.equal(answer(sent), answer(tuned.model))


def test_the_spec_of_an_adapter_says_all_of_it(tuned):
    """What is written into an adapter's record is read back as the same options, defaults and all."""
    if tuned.trainable.adapter is None:
        pytest.skip("it trains the model's own weights")
    spec = tuned.trainable.adapter.spec
    name, _, options = parse_way(spec)
    assert f"{name}:{options.text()}" == spec


def test_the_same_seed_begins_alike(tuned):
    """What a way draws comes of its seed alone, and torch's own generator stays where it was."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = make_model(), make_model()
    train_only(first, tuned.trainable.scope, seed=3)
    assert torch.equal(torch.rand(1), expected)
    train_only(second, tuned.trainable.scope, seed=3)
    one, two = first.state_dict(), second.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("way", IMPORTANT)
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"sam"}))
def test_in_every_family(family, way, tmp_path: Path):
    """It begins as the base, learns, moves what it names alone, opens again on its base, and merges or comes out."""
    model, generator = make_model(family), torch.Generator().manual_seed(1)
    with torch.no_grad():  # as it is drawn, no mask differs from zero by much more than the tolerance
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    save_model(model, tmp_path / "base")
    base = {"name": str(tmp_path / "base"), "sha256": hash_weights(model)}
    if (family, way) in WITHOUT_LAYERS:
        with pytest.raises(UsageError, match="has no linear layer"):
            train_only(model, way)
        return
    tuned = tune(model, way, 6)
    assert torch.allclose(tuned.installed, tuned.at_start, atol=TOLERANCE)
    assert tuned.last_loss < tuned.first_loss
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, tuned.weights[name])}
    assert moved
    assert moved <= set(tuned.trainable.names)
    adapter, learned = tuned.trainable.adapter, answer(model).detach()
    assert (learned - tuned.at_start).abs().max() > 100 * TOLERANCE
    save_adapter(model, adapter, tmp_path / "adapter", base=base)
    assert torch.allclose(answer(open_model(tmp_path / "adapter")), learned, atol=TOLERANCE)
    if adapter.mergeable:
        adapter.merge(model)
        assert torch.allclose(answer(model), learned, atol=TOLERANCE)
    else:
        adapter.remove(model)
        assert hash_weights(model) == base["sha256"]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_lora_fits_every_family(family, tmp_path: Path):
    """In each family the rule for linear layers finds some in the decoder; merged, the model saves and opens."""
    model = make_model(family)
    before = set(model.state_dict())
    trainable = train_only(model, "lora:r=2,in=decoder")
    assert trainable.encoder_frozen
    assert trainable.names
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in trainable.names:
                parameter.add_(0.01)
    save_model(model, tmp_path / "model")
    opened = open_model(tmp_path / "model")
    model.attached.merge(model)
    assert set(model.state_dict()) == before
    assert hash_weights(opened) == hash_weights(model)


def attention(place: str, last: str, times: int = 2) -> dict[str, int]:
    """The four projections of an attention of the mask decoder."""
    return {f"{place}.{name}": times for name in ("q_proj", "k_proj", "v_proj", last)}


def decoder(*, last: str, mlp: tuple[str, str], heads: dict[str, int]) -> dict[str, int]:
    """The linear layers of the mask decoder's two-way transformer, and of its heads."""
    layer = "mask_decoder.transformer.layers.#"
    among = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
    layers = {name: times for place in among for name, times in attention(f"{layer}.{place}", last).items()}
    final = attention("mask_decoder.transformer.final_attn_token_to_image", last, 1)
    return layers | final | {f"{layer}.mlp.{name}": 2 for name in mlp} | heads


def head(place: str, times: int) -> dict[str, int]:
    """The three layers of a head as transformers names them."""
    return {f"mask_decoder.{place}.{name}": times for name in ("proj_in", "layers.#", "proj_out")}


OWN_HEADS = {"mask_decoder.output_hypernetworks_mlps.#.layers.#": 12, "mask_decoder.iou_prediction_head.layers.#": 3}
HEADS = head("output_hypernetworks_mlps.#", 4) | head("iou_prediction_head", 1)
OWN_DECODER = decoder(last="out_proj", mlp=("lin1", "lin2"), heads=OWN_HEADS)
DECODER = decoder(last="o_proj", mlp=("proj_in", "proj_out"), heads=HEADS)
HQ_DECODER = decoder(last="out_proj", mlp=("lin1", "lin2"), heads=HEADS | head("hq_mask_mlp", 1))

BLOCKS = {
    "edgetam": ("", 0, ""),
    "mobile_sam": ("image_encoder.layers.#.blocks.#", 4, "attn.qkv attn.proj mlp.fc1 mlp.fc2"),
    "sam": ("image_encoder.blocks.#", 3, "attn.qkv attn.proj mlp.lin1 mlp.lin2"),
    "sam2": ("image_encoder.vision_encoder.backbone.blocks.#", 6, "attn.qkv attn.proj mlp.proj_in mlp.proj_out"),
    "sam3": (
        "image_encoder.vision_encoder.backbone.layers.#", 3,
        "attention.q_proj attention.k_proj attention.v_proj attention.o_proj mlp.fc1 mlp.fc2",
    ),
    "sam3_concepts": (
        "image_encoder.backbone.layers.#", 3,
        "attention.q_proj attention.k_proj attention.v_proj attention.o_proj mlp.fc1 mlp.fc2",
    ),
    "sam_hq": ("image_encoder.vision_encoder.layers.#", 3, "attn.qkv attn.proj mlp.lin1 mlp.lin2"),
}  # fmt: skip
"""How the blocks of an image encoder are called, how many the tiny one has, and the linear layers of each."""

FURTHER = {"sam2": {"image_encoder.vision_encoder.backbone.blocks.#.proj": 3}}
"""Linear layers besides: where Hiera's stages widen."""


def concept_decoder() -> dict[str, int]:
    """The linear layers of SAM 3's DETR: one layer to encode, two to decode, heads, masks; no head of boxes."""
    places = {"detr_encoder.layers.#.self_attn": 1, "detr_encoder.layers.#.cross_attn": 1}
    places |= {f"detr_decoder.layers.#.{name}": 2 for name in ("self_attn", "text_cross_attn", "vision_cross_attn")}
    places |= {"mask_decoder.prompt_cross_attn": 1}
    heads = {"mask_decoder.mask_embedder.layers.#": 3, "dot_product_scoring.text_proj": 1}
    heads |= {"dot_product_scoring.query_proj": 1}
    for place, layers, times in (
        ("detr_encoder.layers.#.mlp", ("fc1", "fc2"), 1),
        ("detr_decoder.layers.#.mlp", ("fc1", "fc2"), 2),
        ("detr_decoder.presence_head", ("layer1", "layer2", "layer3"), 1),
        ("detr_decoder.ref_point_head", ("layer1", "layer2"), 1),
        ("detr_decoder.box_rpb_embed_x", ("layer1", "layer2"), 1),
        ("detr_decoder.box_rpb_embed_y", ("layer1", "layer2"), 1),
        ("dot_product_scoring.text_mlp", ("layer1", "layer2"), 1),
    ):
        heads |= {f"{place}.{layer}": times for layer in layers}
    for place, times in places.items():
        heads |= attention(place, "o_proj", times)
    return {f"mask_decoder.{name}": times for name, times in heads.items()}


DECODERS = {
    "mobile_sam": OWN_DECODER, "sam": OWN_DECODER, "sam3_concepts": concept_decoder(), "sam_hq": HQ_DECODER
}  # fmt: skip
"""All others have `DECODER`."""


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_lora_touches_these_layers(family):
    """Every linear layer of encoder and decoder by name, numbers aside, and no other: a table, not the rule again."""
    trainable = train_only(make_model(family), "lora")
    adapted = {re.sub(r"\.lora_[AB]\..*", "", name) for name in trainable.names}
    place, blocks, layers = BLOCKS[family]
    encoder = {f"{place}.{name}": blocks for name in layers.split()} | FURTHER.get(family, {})
    expected = encoder | DECODERS.get(family, DECODER)
    assert Counter(re.sub(r"\.\d+(?=\.|$)", ".#", name) for name in adapted) == expected
