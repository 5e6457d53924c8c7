"""Torch's own generators, from which layers such as dropout draw: kept in a checkpoint, and put back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from segtune.training.processes import Processes


def gather_generators(processes: Processes, device: torch.device) -> dict[str, Tensor]:
    """Return the states of all generators that all processes draw from; each process calls it.

    Args:
        processes: who trains together.
        device: of this one's model. What a layer draws comes from its own device's generator, so of a model on a GPU
            that one is kept beside the processor's.

    Returns:
        uint8 [n] on the CPU, by the process's rank: "0" the processor's, "0.cuda" its GPU's.
    """
    own = {_name(processes.rank, "cpu"): torch.get_rng_state()}
    if device.type == "cuda":
        own[_name(processes.rank, "cuda")] = torch.cuda.get_rng_state(device)
    return {name: state for each in processes.gather(own) for name, state in each.items()}


def set_generators(kept: Mapping[str, Tensor], processes: Processes, device: torch.device, seed: int) -> None:
    """Put this process's generators back into the states that were kept, and seed those of which there are none.

    A run begins without any; it may go on with more processes than it had, on a GPU where it had none, or from a
    checkpoint of an earlier version, which kept the processor's alone.

    Args:
        kept: as `gather_generators` returned it.
        processes: who trains together.
        device: of this one's model.
        seed: of the run.
    """
    torch.manual_seed(seed + processes.rank)  # on all devices
    if (state := kept.get(_name(processes.rank, "cpu"))) is not None:
        torch.set_rng_state(state)
    if device.type == "cuda" and (state := kept.get(_name(processes.rank, "cuda"))) is not None:
        torch.cuda.set_rng_state(state, device)


def _name(rank: int, kind: str) -> str:
    return str(rank) if kind == "cpu" else f"{rank}.{kind}"
