"""MobileSAM's image encoder: kept statistics, biases by distance, stages, and its two halves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.models.sam.build import build_mobile_sam
from segtune.models.sam.model import MobileSam
from segtune.models.sam.sizes import MOBILE, MOBILE_MICRO
from segtune.models.sam.tiny_vit import BatchNorm, ConvNorm, TransformerBlock, WindowAttention


@pytest.fixture
def mobile() -> MobileSam:
    """The micro size, with every term in play."""
    generator = torch.Generator().manual_seed(0)
    model = build_mobile_sam(MOBILE_MICRO, generator=generator)
    with torch.no_grad():
        for value in [*model.parameters(), *model.buffers()]:
            if value.is_floating_point():
                value.add_(0.05 * torch.rand(value.shape, generator=generator))
    return model


def draw(model: MobileSam, count: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return model.prepare([rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(count)])[0]


def test_batch_norm_is_torchs_in_evaluation_mode() -> None:
    """The same numbers as torch's own with kept statistics, and the same gradients."""
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm2d(5).eval()
    state = {name: torch.rand(value.shape) + 0.5 for name, value in theirs.state_dict().items() if value.ndim}
    state["num_batches_tracked"] = torch.tensor(7)
    for norm in (ours, theirs):
        norm.load_state_dict(state, strict=True)
    maps = torch.randn(3, 5, 4, 6)
    torch.testing.assert_close(ours.train()(maps), theirs(maps))
    for norm in (ours, theirs):
        norm(maps).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_training_mode_changes_no_number_and_no_buffer(mobile: MobileSam) -> None:
    """An image's features are the same alone and in a batch, in training mode and out of it."""
    pixels = draw(mobile, 3)
    before = {name: value.clone() for name, value in mobile.named_buffers()}
    with torch.no_grad():
        evaluated = mobile.image_encoder(pixels)
        trained = mobile.train().image_encoder(pixels)
        single = mobile.image_encoder(pixels[1:2])
    assert torch.equal(trained, evaluated)
    torch.testing.assert_close(single, evaluated[1:2], rtol=0, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in mobile.named_buffers())


def test_gradients_of_single_images_add_up_to_the_batches(mobile: MobileSam) -> None:
    """So micro-batches and processes may share a step in any way: no image's gradient depends on its neighbours."""
    pixels = draw(mobile, 4)
    encoder = mobile.train().image_encoder
    encoder(pixels).square().sum().backward()
    whole = {name: parameter.grad for name, parameter in encoder.named_parameters()}
    encoder.zero_grad()
    for part in (pixels[:1], pixels[1:]):
        encoder(part).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        torch.testing.assert_close(parameter.grad, whole[name], rtol=1e-3, atol=1e-3, msg=name)


def test_a_bias_belongs_to_a_distance() -> None:
    """Each pair of tokens gets the bias of how many rows and columns they are apart, written out here in loops."""
    window, heads = 3, 2
    attention = WindowAttention(8, heads, window).eval()
    with torch.no_grad():
        attention.attention_biases.normal_()
        tokens = torch.randn(4, window, window, 8)
        query, key, value = (
            part.transpose(1, 2)
            for part in attention.qkv(attention.norm(tokens)).view(4, 9, heads, 12).split([4, 4, 4], dim=3)
        )
        scores = query @ key.transpose(-2, -1) / 2
        for one in range(9):
            for other in range(9):
                rows, columns = abs(one // 3 - other // 3), abs(one % 3 - other % 3)
                scores[:, :, one, other] += attention.attention_biases[:, 3 * rows + columns]
        expected = attention.proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(4, 3, 3, 8))
        torch.testing.assert_close(attention(tokens), expected)


@pytest.mark.parametrize(("size", "window"), [((6, 6), 3), ((4, 4), 4), ((5, 7), 3)])
def test_a_block_keeps_its_map(size: tuple[int, int], window: int) -> None:
    """Windows that fit, one that is all, and some that stick out: the shape stays, and a far token is not seen."""
    block = TransformerBlock(8, 2, window, 16, 3).eval()
    for convolution in block.modules():
        if isinstance(convolution, ConvNorm):
            torch.nn.init.constant_(convolution.c.weight, 0.1)
    maps = torch.randn(1, 8, *size)
    other = maps.clone()
    other[..., -1, -1] += torch.randn(8)
    with torch.no_grad():
        changed = (block(maps) - block(other)).abs().sum(1)[0] > 1e-6
    assert changed.shape == size
    assert bool(changed[-1, -1])
    assert bool(changed[0, 0]) == (size == (window, window))


def test_stages_count_blocks_with_the_way_to_the_next() -> None:
    """The published TinyViT-5M has twelve blocks; what lies between two stages belongs to the block before."""
    encoder = build_mobile_sam(MOBILE).image_encoder
    assert len(encoder.stages) == 14
    assert encoder.stages[2] == ("layers.0.blocks.1.", "layers.0.downsample.")
    assert encoder.stages[-2:] == (("layers.3.blocks.1.",), ("neck.",))


def test_the_published_size() -> None:
    """As many numbers train as the published encoder has without its classifier; the embedding is as large as SAM's."""
    model = build_mobile_sam(MOBILE)
    assert sum(parameter.numel() for parameter in model.image_encoder.parameters()) == 5_743_892
    assert model.sizes.grid == 64
    assert model.mask_size == (256, 256)


def test_bf16_is_near(mobile: MobileSam) -> None:
    """With the setting on, features are near those of fp32, not equal, and come out as fp32."""
    frames = (mobile.frame((40, 60)),)
    with torch.no_grad():
        exact = mobile.encode(draw(mobile, 1), frames).features
        mobile.encoder_precision = "bf16"
        rounded = mobile.encode(draw(mobile, 1), frames).features
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).abs().max()) < 0.1
