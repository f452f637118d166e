"""Loss terms as pure functions. Each returns a sum and a count; sums are divided once, over the whole step.

`L = L_lm + sum_i lambda_i L_i`, each L_i = sum_i / count_i over the rows of the step, however they are split. The five
affective terms are those of the EmoLoom-2B paper; how each gets its gradient is this project's choice (docs/losses.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.nn import functional

from emoloom.models.products import product

CHUNK = 128
"""Positions whose logits are held at once."""
LEAST_PROBABILITY = 1e-6
_NEAREST_BELOW_ONE = 0.99


class LanguageModelling(NamedTuple):
    """What the language-model term says."""

    sum: torch.Tensor
    """Scalar, nats, weighted."""
    n: int
    """Target ids."""
    each: torch.Tensor
    """[targets] -log p of each target id under the model as it is, without gradient."""


def language_model_loss(
    hidden: torch.Tensor, head: Any, target: torch.Tensor, added: Added | None = None,
    weights: torch.Tensor | None = None,
) -> LanguageModelling:  # fmt: skip
    """Negative log-likelihood of target ids.

    Args:
        hidden: [targets, width], last hidden states whose outputs predict the targets.
        head: the output embeddings.
        target: [targets] int64.
        added: what is added to the logits of some targets before the softmax.
        weights: [targets] factors of each -log p in the sum; all 1 where None.

    Returns:
        The weighted sum of -log p over the target ids (fp32 scalar, nats), their number, and each of them unweighted.
    """
    if type(head) is not torch.nn.Linear or head.bias is not None:
        logits = head(hidden).float()
        each = functional.cross_entropy(logits.detach(), target, reduction="none")
        if added is not None:
            logits = logits.index_add(1, added.ids, added.table[added.which].to(logits))
        losses = functional.cross_entropy(logits, target, reduction="none")
        return LanguageModelling((losses if weights is None else losses * weights).sum(), len(target), each)
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    total, each = _CrossEntropy.apply(hidden.to(dtype), head.weight.to(dtype), target, added, weights)
    return LanguageModelling(total, len(target), each)


class Added(NamedTuple):
    """Constants added to the logits of a target: logit adjustment (Menon et al. 2021, arXiv 2007.07314)."""

    ids: torch.Tensor
    """[columns] token ids whose logits change."""
    table: torch.Tensor
    """[kinds, columns]; kind 0 is all zeros."""
    which: torch.Tensor
    """[targets] int64, kind of each target."""


class Digits(NamedTuple):
    """Written numbers as the model sees them: log-probabilities at every place, the characters before it given."""

    lead: torch.Tensor
    """[numbers, 2], of 0 and 1 before the point."""
    decimals: torch.Tensor
    """[decimals, numbers, 10]."""
    shown: torch.Tensor
    """[numbers, decimals] int64, the decimals that stand in the input."""
    is_one: torch.Tensor
    """[numbers] bool: the number in the input is 1, so that nothing is seen of the decimals below one."""

    @property
    def expected(self) -> torch.Tensor:
        """Expected numbers, [numbers] in [0, 1].

        E = P(lead 0) * (sum_d d P(d at the first decimal) / 10 + sum_d d P(d at the second) / 100) + P(lead 1). Where
        the number shown is 1 the decimals of a lead of 0 count as .99.
        """
        return self.moments()[0]

    @property
    def variance(self) -> torch.Tensor:
        """Variance of numbers drawn digit by digit, [numbers]; decimals as behind the ones shown, so independent."""
        return self.moments()[1]

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """`expected` and `variance` at once, by way of those of the numbers below one: [numbers] each."""
        digit = torch.arange(10.0).to(self.lead)
        units = 10.0 ** -torch.arange(1, len(self.decimals) + 1).to(self.lead)
        shares, lead = self.decimals.exp(), self.lead.exp()
        means = shares @ digit
        below_one = torch.where(self.is_one, _NEAREST_BELOW_ONE, units @ means)
        spread = torch.where(self.is_one, 0.0, units**2 @ (shares @ digit**2 - means**2))
        mean = lead[:, 0] * below_one + lead[:, 1]
        return mean, lead[:, 0] * (spread + (below_one - mean) ** 2) + lead[:, 1] * (1 - mean) ** 2

    @property
    def of_shown(self) -> torch.Tensor:
        """log p of the digits in the input among digits, summed over all numbers and places that are seen."""
        below_one = ~self.is_one
        seen = self.decimals[:, below_one].gather(2, self.shown[below_one].T[:, :, None])
        return self.lead.gather(1, self.is_one.long()[:, None]).sum() + seen.sum()


class _CrossEntropy(torch.autograd.Function):
    """Sum of -w log softmax(hidden head^T + added)[target], logits in chunks.

    The gradient by the logits, w (softmax - one-hot), is known with the logits: that one table is kept whole, in the
    dtype of `hidden`. Of fp32 logits, their softmax and what autograd would keep of both, none ever is.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, added: Added | None,
        weights: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """`hidden` [targets, width], `weight` [vocabulary, width], `target` [targets] -> (sum, each [targets])."""
        slopes = hidden.new_empty(len(hidden), len(weight))
        parts, each = [], []
        for start in range(0, len(hidden), CHUNK):
            logits = product(hidden[start : start + CHUNK], weight)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            wanted = target[start : start + CHUNK, None]
            normaliser = logits.logsumexp(1, keepdim=True)
            losses = normaliser - logits.gather(1, wanted)
            each.append(losses[:, 0])
            if added is not None and added.which[start : start + CHUNK].any():
                logits[:, added.ids] += added.table[added.which[start : start + CHUNK]]
                normaliser = logits.logsumexp(1, keepdim=True)
                losses = normaliser - logits.gather(1, wanted)
            slope = logits.sub_(normaliser).exp_()
            slope.scatter_add_(1, wanted, slope.new_full(wanted.shape, -1.0))
            if weights is not None:
                factors = weights[start : start + CHUNK, None]
                losses, slope = losses * factors, slope.mul_(factors)
            parts.append(losses.sum())
            slopes[start : start + CHUNK] = slope
        ctx.save_for_backward(hidden, weight, slopes)
        found = torch.cat(each)
        ctx.mark_non_differentiable(found)
        return torch.stack(parts).sum(), found

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (hidden, weight, slopes), scale = ctx.saved_tensors, gradients[0]
        of_hidden, of_weight = ctx.needs_input_grad[:2]
        return (
            product(slopes, weight.t()) * scale if of_hidden else None,
            product(slopes.t(), (hidden * scale).t()) if of_weight else None,
            None,
            None,
            None,
        )


def classification_loss(probabilities: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, int]:
    """L_cls: binary cross-entropy, sum over rows and labels of -y log p - (1 - y) log(1 - p).

    Args:
        probabilities: [rows, labels] in [0, 1].
        labels: [rows, labels], 0 or 1.

    Returns:
        The sum in nats, and rows * labels.
    """
    held = within(probabilities, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return functional.binary_cross_entropy(held, labels, reduction="sum"), labels.numel()


def within(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Values held inside of bounds, with the gradient of what they were: who is surely wrong has to learn as well."""
    return values + (values.clamp(low, high) - values).detach()


def classification_loss_of_logits(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, int]:
    """L_cls of a head: as `classification_loss` with p = sigmoid(logits), computed without taking logarithms of p."""
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum"), labels.numel()


def regression_loss(expected: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
    """L_reg: squared error of the expected numbers.

    Args:
        expected: [rows, 3] expected v, a, d under the digit slots.
        target: [rows, 3].

    Returns:
        The sum of squares, and 3 * rows.
    """
    return ((expected - target) ** 2).sum(), target.numel()


def estimate_loss(estimates: torch.Tensor, target: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, int]:
    """L_reg of estimates: half of their squared error in units of the target's spread.

    Args:
        estimates: [places, numbers]: one at each decimal of a number.
        target: [numbers].
        scale: [numbers], standard deviation of such targets.

    Returns:
        The sum of squares over numbers, averaged over places, and the number of numbers.
    """
    return 0.5 * (((estimates - target) / scale) ** 2).mean(0).sum(), target.numel()


def digits_loss(digits: Digits, wanted: torch.Tensor, spread: float) -> tuple[torch.Tensor, int]:
    """Cross-entropy between the digits that would write a number and those that the model would write.

    A normal distribution around the number, over all numbers of the contract, taken apart into digits: each is asked
    for its share given the digits shown before it (a histogram loss, Imani and White 2018, arXiv 1806.04613).

    Args:
        digits: of [numbers].
        wanted: [decimals, numbers]: the number that each decimal should write its part of.
        spread: standard deviation.

    Returns:
        The sum in nats, and the number of numbers.
    """
    n_decimals = len(digits.decimals)
    numbers = torch.arange(10**n_decimals + 1).to(wanted) / 10**n_decimals
    weights = -0.5 * ((numbers - wanted[..., None]) / spread) ** 2
    lead = torch.stack([weights[0, :, :-1].logsumexp(1), weights[0, :, -1]], dim=1).softmax(1)
    total = -(lead * digits.lead).sum()
    below_one = ~digits.is_one  # behind a 1 there are no decimals of a lead of 0
    shown, before = digits.shown[below_one], torch.zeros(int(below_one.sum()), dtype=torch.int64)
    for place, spoken in enumerate(digits.decimals[:, below_one]):
        cells = (
            weights[place, below_one, :-1]
            .reshape(len(shown), 10**place, 10, 10 ** (n_decimals - 1 - place))
            .logsumexp(3)
        )
        total = total - (cells[range(len(shown)), before].softmax(1) * spoken).sum()
        before = 10 * before + shown[:, place]
    return total, len(digits.shown)


def consistency_loss(implied: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
    """L_vad: squared error of the VAD that the written words imply.

    Args:
        implied: [covered rows, 3] calibrated lexicon VAD expected under the model at labels and rationale.
        target: [covered rows, 3].

    Returns:
        The sum of squares, and 3 * covered rows.
    """
    return ((implied - target) ** 2).sum(), target.numel()


def appraisal_loss(logits: torch.Tensor, target: torch.Tensor, applicable: torch.Tensor) -> tuple[torch.Tensor, int]:
    """L_app: binary cross-entropy with soft targets, where an appraisal is applicable.

    Args:
        logits: [rows, dimensions] of the head.
        target: [rows, dimensions] in [0, 1]; anything where not applicable.
        applicable: [rows, dimensions] bool.

    Returns:
        The sum in nats, and the number of applicable entries.
    """
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * applicable).sum(), int(applicable.sum())


def flip_loss(
    expected: torch.Tensor, variance: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, int]:  # fmt: skip
    """L_flip: E[(v + v' - 1)^2 + (a - a')^2 + (d - d')^2] over mirrored pairs: valence mirrored, the rest kept.

    The expectation is over numbers drawn from the digits of each text: the square of the expected difference, and both
    variances. Without the variances two wide distributions with mirrored means would do, and greedy decoding writes
    their modes (docs/decisions/0010). Pairs written by people mirror valence and have arousal and dominance of their
    own. So 1 and 0 are read off the targets, t_v + t_v', t_a - t_a' and t_d - t_d': the right answers have a loss of 0.

    Args:
        expected: [pairs, 2, 3] v, a, d of both texts, as in `regression_loss`.
        variance: [pairs, 2, 3], of the same numbers; zeros leave the squares of the expected differences.
        target: [pairs, 2, 3].

    Returns:
        The sum of squares, and 3 * pairs.
    """
    error = expected - target
    sign = error.new_tensor([1.0, -1.0, -1.0])
    return ((error[:, 0] + sign * error[:, 1]) ** 2).sum() + variance.sum(), error.numel() // 2
