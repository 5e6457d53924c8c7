"""The order of training is a pure function of seed and epoch, however many processes share it."""

import pytest

from segtune.training.batches import Order
from segtune.training.processes import Processes
from segtune.training.recipe import OptimizerRecipe, Recipe


def _order(images=23, batch=8, micro_batch=3, **recipe):
    return Order(images, Recipe(optimizer=OptimizerRecipe(batch=batch, micro_batch=micro_batch), **recipe))


def _step(order, epoch, step, world=1):
    return [i for rank in range(world) for micro in order.step(epoch, step, Processes(rank, world)) for i in micro]


def test_an_epoch_sees_every_image_once():
    """No image is left out and none is seen twice, the last small step included."""
    order = _order()
    seen = [image for step in range(order.steps(1)) for image in _step(order, 1, step)]
    assert sorted(seen) == [(1, image) for image in range(23)]


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_share_the_same_step(world):
    """Two or more processes together see what one sees in each step."""
    order = _order()
    for step in range(order.steps(2)):
        assert sorted(_step(order, 2, step, world)) == sorted(_step(order, 2, step))


def test_epochs_differ_and_repeat():
    """Another epoch is another order; the same epoch is the same."""
    order = _order()
    assert _step(order, 1, 0) != _step(order, 2, 0)
    assert _step(order, 1, 0) == _step(_order(), 1, 0)


def test_micro_batches_are_small():
    """No forward pass sees more images than asked for."""
    assert all(len(micro) <= 3 for micro in _order().step(1, 0, Processes()))


def test_an_epoch_may_be_shorter_or_longer_than_a_pass():
    """Epochs of so many steps follow each other through the passes: every pass sees every image once."""
    for epoch_steps in (2, 5):
        order = _order(epochs=6, epoch_steps=epoch_steps)
        seen = [one for epoch in range(1, 7) for step in range(order.steps(epoch)) for one in _step(order, epoch, step)]
        passes = [sorted(index for number, index in seen if number == wanted) for wanted in (1, 2, 3)]
        assert order.total_steps == 6 * epoch_steps
        assert passes[:2] == [list(range(23))] * 2
        assert _step(order, 1, 0) == _step(_order(), 1, 0)


def test_steps_in_all_end_the_last_epoch_early():
    """No step too many is taken, and an epoch without steps is empty."""
    order = _order(epochs=4, epoch_steps=5, steps=12)
    assert [order.steps(epoch) for epoch in (1, 2, 3, 4)] == [5, 5, 2, 0]
    assert order.total_steps == 12
