"""The logarithm of I0 against mpmath, where it nearly vanishes and where I0 overflows."""

import math

import mpmath as mp
import pytest

from theory._bessel import log_i0


@pytest.mark.parametrize("z", [1e-9, 1e-3, 0.4, 0.999999, 1.0, 1.7, 20.0, 1e4, 1e12])
def test_log_i0_keeps_all_digits(z):
    with mp.workdps(60):
        wanted = float(mp.log(mp.besseli(0, mp.mpf(z))))
    assert log_i0(z) == pytest.approx(wanted, rel=4e-16)


def test_log_i0_at_the_ends():
    assert log_i0(0.0) == 0.0
    assert log_i0(1e308) == 1e308
    assert log_i0(math.inf) == math.inf
