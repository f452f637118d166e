"""What the rows at hand can show, and how many more it would take to show more.

Every size here is the normal approximation of a two-sided test of a difference D that is measured with a standard
error: power is reached where |D| = (z(1 - level / 2) + z(power)) * standard error (Cohen 1988; for language models
Card et al. 2020). The standard error of a paired difference falls with the square root of the units; the levels are
those of one comparison, before any correction for several.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from emoloom.scoring.statistics import LEVEL, NO_DIFFERENCE

POWER = 0.8
"""Share of repetitions in which a true difference should be found."""


def detectable_difference(
    standard_error: float, *, level: float = LEVEL, power: float = POWER, freedom: int | None = None
) -> float:
    """The smallest true difference that is found significant with this power.

    (Half the width of an interval, 1.96 standard errors, is only found in every second repetition.)

    Args:
        standard_error: of the paired difference, in units of the metric.
        level: of the two-sided test.
        power: share of repetitions.
        freedom: degrees of freedom where the error comes from a few training seeds: quantiles of Student's t.
    """
    return _quantiles(level, power, freedom) * standard_error


def needed_units(
    difference: float, standard_error: float, n_units: int, *, level: float = LEVEL, power: float = POWER
) -> int | None:
    """Units like the ones at hand with which the observed difference, were it the true one, is found significant.

    `n (z(1 - level / 2) + z(power))^2 SE^2 / D^2`, where n SE^2 is the variance that one unit brings into the paired
    difference.

    Args:
        difference: observed.
        standard_error: of the paired difference on the units at hand.
        n_units: units at hand: conversations where the corpus has them, otherwise rows.
        level: of the two-sided test.
        power: share of repetitions.

    Returns:
        A number of units, at least 1; None where there is no difference, so that no number would do.
    """
    if abs(difference) <= NO_DIFFERENCE:
        return None
    ratio = detectable_difference(standard_error, level=level, power=power) / difference
    return max(1, math.ceil(n_units * ratio**2))


def _quantiles(level: float, power: float, freedom: int | None = None) -> float:
    quantile = NormalDist().inv_cdf
    if freedom is not None:
        from scipy import stats

        quantile = stats.t(freedom).ppf
    return float(quantile(1 - level / 2) + quantile(power))
