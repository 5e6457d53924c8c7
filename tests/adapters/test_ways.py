"""What --train understands, what it refuses and in which words, and how AdaLoRA gives out ranks."""

from __future__ import annotations

import copy
import importlib

import pytest
import torch
from torch import nn

from segtune.adapters.attaching import attach
from segtune.adapters.parts import linear_layers
from segtune.adapters.rank_allocation import RankAllocation
from segtune.adapters.scopes import train_only
from segtune.adapters.way import parse_way
from segtune.core.errors import MissingExtraError, ModelError, UsageError
from segtune.models import FAMILIES
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO


@pytest.fixture
def sam():
    """A small random Segment Anything."""
    return build_sam(MICRO, generator=torch.Generator().manual_seed(0))


def test_options_are_read_by_name_and_type():
    """Numbers, shares and joined parts; what is not given is the default."""
    name, _, options = parse_way("lora:r=4,in=decoder+prompt,dropout=0.1,whole=encoder")
    assert name == "lora"
    assert (options.r, options.dropout, options.alpha, options.strength) == (4, 0.1, None, 8)
    assert options.parts == ("decoder", "prompt")
    assert options.whole == ("encoder",)
    assert parse_way("late:2")[2].blocks == parse_way("late:blocks=2")[2].blocks == 2
    assert parse_way("norm")[2].parts == ("encoder", "decoder")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("lorra", ["no way of training (--train) named 'lorra'", "Did you mean 'lora'", "decoder+prompt"]),
        ("lora:rank=8", ["no option of --train lora named 'rank'", "Known: alpha, dropout, in, r, targets, whole"]),
        ("lora:target=mlp", ["Did you mean 'targets'"]),
        ("lora:r=0", ["r: Input should be greater than or equal to 1", "(it was '0')", "Rank."]),
        ("lora:r=many", ["(it was 'many')"]),
        ("lora:in=encodr", ["no part of the model named 'encodr'", "Did you mean 'encoder'"]),
        ("lora:targets=qkv", ["'all', 'attention' or 'mlp'"]),
        ("lora:in=decoder,whole=decoder", ["'decoder' is in both 'in' and 'whole'"]),
        ("lora:8", ["key=value pairs", "'lora:in=…'", "it has '8'"]),
        ("decoder:2", ["key=value pairs", "Keys of decoder: none"]),
        ("late:many", ["blocks", "(it was 'many')", "last so many blocks"]),
    ],
)
def test_what_is_not_understood_is_told_with_the_choices(spec, words):
    """One paragraph that names the value, the choices and the nearest."""
    with pytest.raises(UsageError) as caught:
        parse_way(spec)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("late", "this model has 3, so N must be between 1 and 3 .it was None"),
        ("late:4", "between 1 and 3 .it was 4"),
        ("lora:in=prompt", "no linear layer of the kind 'all' in prompt"),
        ("bias:in=", "no part of the model named ''"),
        ("pissa:r=999", "fits no linear layer in encoder . decoder of this sam model: all are too narrow"),
        ("boft:block=3", "block=3 needs layers whose inputs it divides"),
    ],
)
def test_what_matches_nothing_is_an_error(sam, spec, words):
    """A way that would train nothing of this model says what it found instead."""
    with pytest.raises(UsageError, match=words):
        train_only(sam, spec)


@pytest.fixture
def convolutional(sam):
    """One whose image encoder is convolutions alone, without a linear layer."""
    sam.image_encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    return sam


@pytest.mark.parametrize("way", ["lora", "ia3", "bottleneck", "norm"])
def test_a_named_part_in_which_nothing_trains_is_an_error(convolutional, way):
    """What was asked for is not done by half: the parts that will do are told."""
    with pytest.raises(UsageError, match=r"names encoder, but this sam model has nothing there .* \(in=decoder\)"):
        train_only(convolutional, f"{way}:in=encoder+decoder")


def test_a_part_of_the_default_in_which_nothing_trains_is_told(convolutional):
    """Nobody asked for it, so the rest trains, and what is printed of the run says so."""
    trainable = train_only(convolutional, "lora:r=2")
    assert trainable.passed_by == ("encoder",)
    assert trainable.encoder_frozen
    assert str(trainable).endswith("none in encoder, which has nothing for it")


def test_attention_and_mlp_part_the_linear_layers(sam):
    """Each linear layer of the encoder is of one kind; both together are all of them."""
    every = linear_layers(sam, ["encoder"])
    attention, mlp = (linear_layers(sam, ["encoder"], kind) for kind in ("attention", "mlp"))
    assert set(every) == set(attention) | set(mlp)
    assert not set(attention) & set(mlp)
    assert {name.rpartition(".")[2] for name in attention} == {"qkv", "proj"}
    assert {name.rpartition(".")[2] for name in mlp} == {"lin1", "lin2"}


def test_parts_train_whole_beside_an_adapter(sam):
    """LoRA in the encoder with the whole decoder: the usual recipe for another domain."""
    trainable = train_only(sam, "lora:in=encoder,whole=decoder,r=2")
    decoder = {name for name, _ in sam.named_parameters() if name.startswith("mask_decoder.")}
    assert decoder < set(trainable.names)
    assert all("lora" in name for name in set(trainable.names) - decoder)
    assert not trainable.encoder_frozen
    assert trainable.whole & set(trainable.names) == decoder


@pytest.mark.parametrize("way", ["bottleneck:width=4,in=encoder,whole=decoder", "conv_lora:r=2,whole=decoder"])
def test_of_our_own_adapters_too_it_is_known_what_trains_whole(sam, way):
    """What lies beside the encoder's layers is not among it, nor is anything frozen."""
    trainable = train_only(sam, way)
    assert {name for name in trainable.names if name.startswith("mask_decoder.")} == trainable.whole & {
        *trainable.names
    }
    assert set(trainable.names) - trainable.whole
    assert not any(".beside." in name for name in trainable.whole)


def test_without_peft_the_install_command_is_told(sam, monkeypatch):
    """Only a way that needs peft asks for it."""

    def missing(name, *rest):
        if name.startswith("peft"):
            raise ImportError(name)
        return found(name, *rest)

    found = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"--train dora needs.*pip install 'segtune\[peft\]'"):
        train_only(sam, "dora")
    assert train_only(sam, "norm").names


def test_peft_takes_no_model_for_transformers(monkeypatch):
    """It would ask one that has a `config` for names of weights that only transformers' own classes know."""
    pytest.importorskip("transformers", reason="pip install 'segtune[hf]'")
    asking = pytest.importorskip("peft.utils.transformers_weight_conversion", reason="pip install 'segtune[peft]'")
    monkeypatch.setattr(asking, "get_model_conversion_mapping", lambda model: pytest.fail("it was taken for one"))
    model = FAMILIES["sam2"].tiny(torch.Generator().manual_seed(0))
    train_only(model, "lora:in=decoder")


def test_boft_turns_blocks_apart(sam):
    """One butterfly factor and no permutation: block-diagonal OFT, as the documentation says."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    train_only(sam, "boft:block=4,in=encoder")
    layer = sam.get_submodule("image_encoder.blocks.0.attn.qkv")
    (rotations,) = layer.boft_R["default"]  # [blocks, 4, 4], of the one factor
    assert rotations.shape == (layer.in_features // 4, 4, 4)
    assert torch.equal(layer.boft_P[0], torch.eye(layer.in_features))


def test_a_second_adapter_is_refused(sam):
    """What lies on an adapter could be merged neither before nor after it."""
    train_only(sam, "lora:r=2")
    with pytest.raises(UsageError, match=r"has one already .'lora:in=encoder"):
        train_only(sam, "norm")


def test_an_adapter_of_other_shapes_is_refused(sam):
    """Names and shapes are compared before anything is taken."""
    other = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    tensors = train_only(other, "lora:r=2").adapter.tensors(other)
    with pytest.raises(ModelError, match=r"has the shape \(2, .* in the file and \(4, "):
        attach(sam, "lora:r=4", tensors)
    with pytest.raises(ModelError, match="makes no adapter"):
        attach(build_sam(MICRO), "decoder", {})
    with pytest.raises(ModelError, match=r"does not fit this sam model\. There is no way"):
        attach(build_sam(MICRO), "from-tomorrow", {})


def test_alpha_means_the_same_to_every_way_of_low_rank(sam):
    """What is added is scaled by alpha / r, also where peft begins with a surplus of ranks and divides by that.

    rsLoRA is the exception that its name is for: by the root.
    """
    for way in ("lora", "dora", "pissa", "loha", "adalora", "rslora"):
        model = copy.deepcopy(sam)
        train_only(model, f"{way}:r=4,alpha=12,in=decoder,targets=attention")
        layer = next(module for module in model.modules() if getattr(module, "scaling", None))
        surplus = float(layer.ranknum["default"]) if way == "adalora" else 1.0
        assert layer.scaling["default"] / surplus == pytest.approx(6.0 if way == "rslora" else 3.0), way


def test_ranks_go_down_to_the_budget_and_stay(sam):
    """From the surplus to the rank asked for in the mean; what was taken away last stays zero."""
    trainable = train_only(sam, "adalora:r=2,in=decoder,targets=attention")
    follower = trainable.adapter.follow(20)
    assert follower.budget(2, 30, 20) == 30
    assert 20 < follower.budget(6, 30, 20) < 30
    assert follower.budget(14, 30, 20) == follower.budget(20, 30, 20) == 20
    generator = torch.Generator().manual_seed(0)
    values = [(name, p) for name, p in sam.named_parameters() if ".lora_E." in name]
    for step in range(1, 21):
        for name, parameter in sam.named_parameters():
            if parameter.requires_grad:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
                if ".lora_E." in name:
                    parameter.data.add_(0.1)
        follower.add_gradients(sam)
        follower.after_step(sam, step)
        used = sum(int((parameter != 0).sum()) for _, parameter in values)
        assert used <= follower.budget(step, 3 * len(values), 2 * len(values))
        if step == 14:
            chosen = [(parameter != 0).clone() for _, parameter in values]
    assert used == 2 * len(values)
    assert all(torch.equal(parameter != 0, kept) for (_, parameter), kept in zip(values, chosen, strict=True))


def test_the_allocation_of_ranks_goes_on_where_it_was(sam):
    """Its state, brought to another, is the same state."""
    trainable = train_only(sam, "adalora:r=2,in=decoder")
    follower = trainable.adapter.follow(4)
    for parameter in sam.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    follower.after_step(sam, 2)
    state = follower.state()
    assert {key.partition("|")[0] for key in state} == {"sensitivity", "uncertainty", "kept"}
    other = RankAllocation(2, 4)
    other.load_state(state)
    assert all(torch.equal(value, state[key]) for key, value in other.state().items())
    assert set(other.state()) == set(state)


def test_matrices_are_drawn_towards_orthogonal_ones(sam):
    """The penalty's gradient is that of automatic differentiation."""
    trainable = train_only(sam, "adalora:r=2,in=decoder")
    follower = trainable.adapter.follow(100)
    sides = {n: p for n, p in sam.named_parameters() if ".lora_A." in n or ".lora_B." in n}
    penalty = torch.zeros(())
    for name, parameter in sides.items():
        product = parameter @ parameter.T if ".lora_A." in name else parameter.T @ parameter
        penalty = penalty + (product - torch.eye(len(product))).square().sum()
    expected = torch.autograd.grad(0.1 * penalty / len(sides), list(sides.values()))
    for parameter in sides.values():
        parameter.grad = torch.zeros_like(parameter)
    follower.add_gradients(sam)
    assert all(torch.allclose(p.grad, e, atol=1e-6) for p, e in zip(sides.values(), expected, strict=True))
