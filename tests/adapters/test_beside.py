"""Modules beside a model's layers: where they lie, what they see, and that they leave nothing behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segtune.adapters.bottleneck import Bottleneck
from segtune.adapters.conv_lora import ConvLora
from segtune.adapters.scopes import train_only
from segtune.adapters.tokens import LearnedTokens
from segtune.adapters.way import parse_way
from segtune.core.errors import UsageError
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO


@pytest.fixture
def sam():
    """A small random Segment Anything."""
    return build_sam(MICRO, generator=torch.Generator().manual_seed(0))


def learned(module: nn.Module) -> nn.Module:
    """Give every weight a value, so that nothing is zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def test_bottlenecks_follow_each_attention_and_each_mlp(sam):
    """After the last layer of each, and never where the output is no wider than the narrow place."""
    train_only(sam, "bottleneck:width=8")
    places = {name.removesuffix(".beside") for name, module in sam.named_modules() if isinstance(module, Bottleneck)}
    encoder = {name for name in places if name.startswith("image_encoder.")}
    assert encoder == {f"image_encoder.blocks.{n}.{layer}" for n in range(3) for layer in ("attn.proj", "mlp.lin2")}
    assert "mask_decoder.transformer.layers.0.self_attn.out_proj" in places
    assert "mask_decoder.transformer.final_attn_token_to_image.out_proj" in places
    # Four qualities, and four channels of each mask's weights.
    assert not any("iou_prediction_head" in name or "hypernetworks" in name for name in places)
    with pytest.raises(UsageError, match="finds no layer"):
        train_only(build_sam(MICRO), "bottleneck:width=4096")


def test_conv_lora_sees_the_neighbourhood():
    """A change of one token reaches its neighbours by the convolution, at larger scales further."""
    layer = nn.Linear(6, 5)
    beside = learned(ConvLora(layer, rank=3, scale=2.0, experts=1))
    tokens = torch.randn(1, 7, 7, 6, generator=torch.Generator().manual_seed(2))
    changed = tokens.clone()
    changed[0, 3, 3] += 1
    difference = beside(layer, layer(changed), changed) - beside(layer, layer(tokens), tokens)
    reached = difference.abs().amax(-1)[0] > 1e-6
    assert reached[2:5, 2:5].all()
    assert int(reached.sum()) == 9


@pytest.mark.parametrize("experts", [1, 3])
def test_conv_lora_takes_grids_and_rows_of_tokens(experts):
    """Each map has an expert of its own: a batch is its maps alone, and a flat square grid is the grid."""
    layer = nn.Linear(6, 5)
    beside = learned(ConvLora(layer, rank=3, scale=2.0, experts=experts))
    grids = torch.randn(4, 5, 5, 6, generator=torch.Generator().manual_seed(3))
    together = beside(layer, layer(grids), grids)
    assert together.shape == (4, 5, 5, 5)
    alone = torch.cat([beside(layer, layer(one[None]), one[None]) for one in grids])
    assert torch.allclose(together, alone, atol=1e-5)
    flat = grids.flatten(1, 2)
    assert torch.allclose(beside(layer, layer(flat), flat).reshape(together.shape), together, atol=1e-5)


def test_conv_lora_teaches_its_gate():
    """The gate's choice is weighed by its own chance, so it gets a gradient."""
    layer = nn.Linear(6, 5)
    beside = learned(ConvLora(layer, rank=3, scale=2.0, experts=3))
    grids = torch.randn(4, 5, 5, 6, generator=torch.Generator().manual_seed(3))
    beside(layer, layer(grids), grids).square().sum().backward()
    assert float(beside.gate.weight.grad.abs().sum()) > 0


def test_conv_lora_is_for_the_encoder_alone():
    """The decoder's tokens have no rows and columns."""
    with pytest.raises(UsageError, match="'in' must be encoder"):
        parse_way("conv_lora:in=encoder+decoder")


def test_tokens_lie_in_the_decoders_self_attention(sam):
    """Two layers, two places; the encoder stays frozen, so its embeddings are cached."""
    trainable = train_only(sam, "tokens:3")
    places = [name for name, module in sam.named_modules() if isinstance(module, LearnedTokens)]
    assert places == [f"mask_decoder.transformer.layers.{n}.self_attn.beside" for n in range(2)]
    assert trainable.encoder_frozen
    assert trainable.parameters == 2 * 3 * (32 + 32)


def test_an_answer_of_several_is_changed_in_its_first(sam):
    """Attentions of transformers answer with their weights too; those stay as they are."""
    from segtune.adapters.beside import put_beside

    class Pair(nn.Module):
        def forward(self, query):
            return query, "weights"

    class Twice(nn.Module):
        def forward(self, layer, answer, query):
            return answer + query

    sam.pair = Pair()
    put_beside(sam, "twice", {"pair": sam.pair}, lambda layer: Twice())
    answer, others = sam.pair(query=torch.ones(2))
    assert torch.equal(answer, 3 * torch.ones(2))
    assert others == "weights"


def test_nothing_is_left_when_they_are_taken_away(sam):
    """The hooks go with the modules; a hook of somebody else's stays."""
    seen = []
    layer = sam.get_submodule("image_encoder.blocks.0.attn.proj")
    layer.register_forward_hook(lambda *arguments: seen.append(1))
    before = set(sam.state_dict())
    adapter = train_only(sam, "bottleneck").adapter
    adapter.remove(sam)
    assert set(sam.state_dict()) == before
    layer(torch.zeros(1, 32))
    assert seen == [1]
    assert len(layer._forward_hooks) == 1
