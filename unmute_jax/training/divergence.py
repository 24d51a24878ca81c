"""Says which settings may be the cause where every trial of a search diverged."""

from __future__ import annotations

from collections.abc import Iterator

from unmute_jax.config import Experiment

# AdamW multiplies parameters by `1 - rate * decay` in each step, and they grow where
# that is below -1.
MOST_DECAY = 2.0
# Values above these are far from all that is usual.
HIGH_RATE, HIGH_GAMMA, HIGH_PENALTY = 1.0, 10.0, 100.0


def advice(settings: Experiment, rates: tuple[float, float]) -> str:
    """Says what to change: the suspicious settings, or else the learning rates.

    Args:
        settings: The experiment's settings.
        rates: The lowest and the highest learning rate that was tried.
    """
    low, high = rates
    keys = "config.optimizer.learning_rates"
    decay, key = settings.optimizer.weight_decay, "config.optimizer.weight_decay"
    if settings.search == "sweep":
        keys = "config.sweep.lowest_rate and highest_rate"
        decay, key = settings.sweep.highest_decay, "config.sweep.highest_decay"
    lower = f"lower {keys} (tried: {low:g} to {high:g})"
    causes = [*_of_optimizer(settings), *_of_loss(settings)]
    if low * decay > MOST_DECAY:
        causes.append(
            f"{key}={decay:g} (times the learning rate it is above {MOST_DECAY:g}, so "
            "the decay itself makes parameters grow)"
        )
    if not causes:
        return lower
    if low > HIGH_RATE:
        causes.append(f"{keys} (tried: {low:g} to {high:g})")
        return f"possible causes are {'; '.join(causes)}"
    return f"possible causes are {'; '.join(causes)}; otherwise {lower}"


def _of_optimizer(settings: Experiment) -> Iterator[str]:
    optimizer = settings.optimizer
    if optimizer.eps == 0:
        yield (
            "config.optimizer.eps=0 (parameters whose gradient is 0 are divided by 0; "
            "1e-8 is usual)"
        )
    # The condition under which Adam converges (Reddi et al. 2018, section 3).
    if optimizer.b1 > optimizer.b2**0.5:
        yield (
            f"config.optimizer.b2={optimizer.b2:g} (b1={optimizer.b1:g} is above its "
            "root, so steps can become any size; 0.999 is usual)"
        )


def _of_loss(settings: Experiment) -> Iterator[str]:
    for name in ("gamma_negative", "gamma_positive"):
        gamma = getattr(settings.loss, name)
        if gamma is not None and (gamma > HIGH_GAMMA or 0 < gamma < 1):
            yield f"config.loss.{name}={gamma:g} (1 to 4 are usual)"
    weight = settings.probe_options.penalty_weight
    if weight is not None and weight > HIGH_PENALTY:
        yield f"config.probe_options.penalty_weight={weight:g} (1 or less is usual)"
