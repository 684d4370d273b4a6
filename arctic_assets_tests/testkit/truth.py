"""Stated uncertainties against known errors: neither too small nor too large."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def assert_sigma_is_fair(
    error: ArrayLike,
    sigma: ArrayLike,
    *,
    beyond_2: float = 0.1,
    largest: float = 4.0,
    median: tuple[float, float] = (0.2, 1.2),
) -> None:
    """Errors are as their standard deviations say.

    Of normal errors 5 % lie beyond two standard deviations, one in 16 000 beyond four, and half beyond 0.67.

    Args:
        error: what came out minus what was put in.
        sigma: its stated standard deviation, above 0.
        beyond_2: share of errors that may lie beyond two standard deviations.
        largest: standard deviations beyond which there is no error.
        median: within which the median of |error| / sigma lies; below its first number sigma is far too large.
    """
    ratio = np.abs(np.asarray(error, dtype=np.float64)) / np.asarray(sigma, dtype=np.float64)
    assert len(ratio) >= 10 and np.isfinite(ratio).all()
    assert (ratio > 2).mean() <= beyond_2, f"{(ratio > 2).mean():.1%} of the errors are beyond two sigma"
    assert ratio.max() <= largest, f"an error of {ratio.max():.1f} sigma"
    assert median[0] <= np.median(ratio) <= median[1], f"the median error is {np.median(ratio):.2f} sigma"
