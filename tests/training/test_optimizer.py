"""The optimizer: layer-wise rates, what decays, and the learning rate as a function of the step."""

import pytest
import torch

from segtune.adapters.scopes import train_only
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.training.optimizer import build_optimizer, lr_at
from segtune.training.recipe import OptimizerRecipe


def _group_of(optimizer, parameter):
    return next(group for group in optimizer.param_groups if any(one is parameter for one in group["params"]))


def test_matrices_decay_and_tables_do_not():
    """Weights of layers are shrunk, the patch embedding and attention from tokens too; positions and tokens are not."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    optimizer = build_optimizer(model, OptimizerRecipe(weight_decay=0.1))
    decay = {name: _group_of(optimizer, p)["weight_decay"] for name, p in model.named_parameters()}
    assert decay["image_encoder.patch_embed.proj.weight"] == 0.1
    assert decay["mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight"] == 0.1
    assert decay["image_encoder.pos_embed"] == 0
    assert decay["mask_decoder.mask_tokens.weight"] == 0
    assert decay["prompt_encoder.no_mask_embed.weight"] == 0
    assert all(value == 0 for name, value in decay.items() if name.endswith(".bias"))


def test_deeper_stages_learn_slower():
    """Each encoder stage learns by the layer decay slower than the one after it; the decoder at the full rate."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    optimizer = build_optimizer(model, OptimizerRecipe(layer_decay=0.5))
    scale = {name: _group_of(optimizer, p)["scale"] for name, p in model.named_parameters()}
    assert scale["mask_decoder.iou_token.weight"] == 1
    assert scale["image_encoder.neck.0.weight"] == 1
    assert scale["image_encoder.blocks.2.attn.qkv.weight"] == 0.5
    assert scale["image_encoder.patch_embed.proj.weight"] == 0.5**4


def test_parts_that_train_whole_beside_an_adapter_learn_slower():
    """The factor is one more beside that of their depth, for what is named and for nothing else."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    whole = {
        name for name, _ in model.named_parameters() if name.startswith(("mask_decoder", "image_encoder.blocks.2"))
    }
    optimizer = build_optimizer(model, OptimizerRecipe(layer_decay=0.5, whole_scale=0.25), whole=whole)
    scale = {name: _group_of(optimizer, p)["scale"] for name, p in model.named_parameters()}
    assert scale["mask_decoder.iou_token.weight"] == 0.25
    assert scale["image_encoder.blocks.2.attn.qkv.weight"] == 0.125
    assert scale["image_encoder.blocks.1.attn.qkv.weight"] == 0.25
    assert scale["image_encoder.neck.0.weight"] == 1


def test_the_rate_warms_up_and_falls_to_its_share():
    """Linear to the top, a cosine down to the final share; constant where asked for."""
    recipe = OptimizerRecipe(lr=1.0, warmup_steps=10, final_lr=0.1)
    assert [lr_at(step, 110, recipe) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert lr_at(60, 110, recipe) == pytest.approx(0.55)
    assert lr_at(110, 110, recipe) == pytest.approx(0.1)
    constant = OptimizerRecipe(lr=1.0, warmup_steps=0, schedule="constant")
    assert {lr_at(step, 100, constant) for step in range(100)} == {1.0}


def test_muon_moves_matrices_and_adamw_the_rest():
    """Matrices of linear layers are Muon's; convolutions, biases, norms, positions and learned tokens AdamW's."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    optimizer = build_optimizer(model, OptimizerRecipe(kind="muon", muon_scale=2.0, layer_decay=1.0))
    groups = {name: _group_of(optimizer, p) for name, p in model.named_parameters()}
    by_muon = {name for name, group in groups.items() if "ns_steps" in group}
    assert "image_encoder.blocks.0.attn.qkv.weight" in by_muon
    assert "mask_decoder.output_hypernetworks_mlps.0.layers.0.weight" in by_muon
    named = (
        "pos_embed",
        "rel_pos",
        "point_embed",
        "token.weight",
        "tokens.weight",
        "bias",
        "norm",
        "patch_embed",
        "neck",
    )
    assert not [name for name in by_muon if any(part in name for part in named)]
    assert {groups[name]["scale"] for name in by_muon} == {2.0}
    assert {group["scale"] for name, group in groups.items() if name not in by_muon} == {1.0}


def test_what_muon_moves_does_not_hang_on_the_decay():
    """Without weight decay the same matrices are Muon's, none of them shrunk."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))

    def by_muon(decay):
        groups = build_optimizer(model, OptimizerRecipe(kind="muon", weight_decay=decay)).param_groups
        found = [group for group in groups if "ns_steps" in group]
        assert {group["weight_decay"] for group in found} == {decay}
        return {id(parameter) for group in found for parameter in group["params"]}

    assert by_muon(0.0) == by_muon(0.1)


def test_a_step_of_muon_turns_a_matrix_in_all_directions_alike():
    """However unequal the gradient's directions, the step's singular values are alike, as long as AdamW's would be."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    weight = model.image_encoder.blocks[0].mlp.lin1.weight  # [64, 32]
    before = weight.detach().clone()
    optimizer = build_optimizer(model, OptimizerRecipe(kind="muon", muon_scale=1.0, weight_decay=0.0, lr=1e-3))
    left, _, right = torch.linalg.svd(
        torch.randn(64, 32, generator=torch.Generator().manual_seed(1)), full_matrices=False
    )
    weight.grad = left @ torch.diag(torch.logspace(0, -2, 32)) @ right
    optimizer.step()
    moved = torch.linalg.svdvals(weight.detach() - before)
    assert moved.max() < 2.5 * moved.min()
    assert 0.1e-3 < (weight.detach() - before).square().mean().sqrt() < 0.3e-3


@pytest.mark.parametrize(("way", "scales"), [("ia3", ".ia3_l."), ("boft", ".boft_s."), ("tokens", ".token_")])
def test_what_an_adapter_scales_by_is_not_shrunk(way, scales):
    """A scale that begins at one would be drawn to zero, and the layer it multiplies with it."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(0))
    train_only(model, way)
    optimizer = build_optimizer(model, OptimizerRecipe(weight_decay=0.1))
    found = [_group_of(optimizer, p)["weight_decay"] for name, p in model.named_parameters() if scales in name]
    assert found
    assert set(found) == {0.0}
