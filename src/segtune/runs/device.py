"""Where a run computes: the rule is `models.device`'s."""

from segtune.models.device import pick_device

__all__ = ["pick_device"]
