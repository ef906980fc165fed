"""The test run itself: annotations are enforced, and the switch for bad input works."""

import jaxtyping
import numpy as np
import pytest

from deeplinear.rules import CurvatureCorrection, mode_velocity


def test_a_wrong_shape_is_refused_by_the_annotations():
    with pytest.raises(jaxtyping.TypeCheckError):
        mode_velocity(CurvatureCorrection(), np.ones((2, 2)), 1.0)


@pytest.mark.bad_input
def test_the_marker_switches_the_annotations_off():
    assert mode_velocity(CurvatureCorrection(0.0), [0.5, 2.0], 3.0).tolist() == [4.0, 1.0]
