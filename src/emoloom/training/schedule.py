"""The learning rate over a training: warm-up, a constant rate, and a fall to zero at the end where one is asked for."""

from __future__ import annotations

from emoloom.config import TrainingSettings


def learning_rate(settings: TrainingSettings, step: int, spent: float) -> float:
    """Rate of a step.

    The fall is linear in tokens (the cooldown of Haegele et al. 2024, arXiv 2405.18392).

    Args:
        settings: the `[training]` section.
        step: its number, from 0.
        spent: share of the budget that the steps before it took, 0 to 1.
    """
    warm = (step + 1) / max(1, settings.warmup_steps)
    left = (1.0 - spent) / settings.cooldown if settings.cooldown else 1.0
    return settings.learning_rate * min(1.0, warm, left)
