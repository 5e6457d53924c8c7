"""The score the best epoch is chosen by."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from small import discs

from segtune.evaluation.matrix import evaluate
from segtune.runs.validation import score_means
from segtune.segment.encoding import encode_image
from segtune.training.processes import Processes


@dataclass
class Table:
    """Where threads that stand in for processes lay down what they gather."""

    world: int
    met: threading.Barrier = field(init=False)
    values: dict[int, object] = field(default_factory=dict)

    def __post_init__(self):
        self.met = threading.Barrier(self.world, timeout=60)


@dataclass(frozen=True)
class Threads(Processes):
    """One of several threads in the place of a process."""

    table: Table | None = None

    def gather(self, value):
        """Return what all threads hand in."""
        self.table.values[self.rank] = value
        self.table.met.wait()
        values = [self.table.values[rank] for rank in range(self.world)]
        self.table.met.wait()
        return values


def test_validation_gives_the_means_of_the_matrix(micro):
    """By mode and metric, of the model alone: no shape that takes no skill mixes in."""
    part = discs(3)
    means = score_means(micro, part, modes=["click", "box"], seed=5)
    rows = evaluate({"m": micro}, part, modes=["click", "box"], seed=5, baselines=False).rows
    assert set(means) == {"click", "box"}
    assert {(mode, metric) for mode in means for metric in means[mode]} == {(row.mode, row.metric) for row in rows}
    for row in rows:
        assert means[row.mode][row.metric] == pytest.approx(row.mean, abs=1e-12)


@pytest.mark.parametrize(("world", "images"), [(2, 9), (3, 8), (3, 2)])
def test_processes_share_the_images_and_learn_the_same_means(micro, world, images):
    """Each asks for embeddings by an image's place among all; with fewer images than processes some have none."""
    part, table, encoded = discs(images), Table(world), [[] for _ in range(world)]

    def score(rank):
        def embed(model, sample, index):
            assert part[index].name == sample.name
            encoded[rank].append(index)
            return encode_image(model, sample.image)

        processes = Threads(rank, world, table)
        return score_means(copy.deepcopy(micro), part, modes=["click", "box"], embed=embed, processes=processes)

    with ThreadPoolExecutor(world) as threads:
        found = list(threads.map(score, range(world)))
    assert found == [score_means(micro, part, modes=["click", "box"])] * world
    assert sorted(index for own in encoded for index in own) == list(range(images))
    assert max(map(len, encoded)) - min(map(len, encoded)) <= 1
