"""Mode trajectories and learning times against reference values.

The values were computed once with 40-digit arithmetic by a second route (quadrature or
closed form in mpmath, cross-checked with an adaptive integrator); they are stated here to
the digits that double precision can hold.
"""

import numpy as np
import pytest

from deeplinear import BlowUpError, CurvatureCorrection, learning_time, mode_trajectory

GD, SQRT, NGD = (CurvatureCorrection(q) for q in (0.0, 0.5, 1.0))
SQRT_LAYER = CurvatureCorrection(0.5, "layer", scale=1.0)
NGD_LAYER = CurvatureCorrection(1.0, "layer")

STATES = [
    # rule, start, target, time, weights
    (GD, (0.1, 0.1), 2.0, 1.0, (0.4305879205034302071**0.5,) * 2),
    (GD, (0.1, 0.1), 2.0, 2.0, (1.874841113743690056**0.5,) * 2),
    (GD, (0.5, 0.1), 2.0, 0.5, (0.80695094714038601929, 0.64122525768310629721)),
    (GD, (0.5, 0.1), 2.0, 1.0, (1.2545611566087090481, 1.1549561444796862028)),
    (GD, (0.5, 0.1), 2.0, 2.0, (1.4525514181031076079, 1.3674449247532234444)),
    (GD, (0.5, -0.1), 2.0, 0.5, (0.63626415947866111088, 0.40599517316969065113)),
    (GD, (0.5, -0.1), 2.0, 1.0, (1.0965992216572207486, 0.98108605786608870926)),
    (SQRT, (0.1, 0.1), 2.0, 0.5, (0.72968859601252381417,) * 2),
    (SQRT, (0.1, 0.1), 2.0, 1.0, (1.1169081114296949464,) * 2),
    (SQRT, (0.1, 0.1), 2.0, 2.0, (1.3699550895011072297,) * 2),
    (SQRT_LAYER, (0.1, 0.1), 2.0, 1.0, (1.2761982473917951171,) * 2),
    (SQRT_LAYER, (0.5, 0.1), 2.0, 1.0, (1.5249950712271221622, 1.1249950712271221622)),
    (SQRT_LAYER, (0.5, 0.1), 2.0, 2.0, (1.6221406134474760913, 1.2221406134474760913)),
    (NGD, (0.5, 0.1), 2.0, 1.0, (1.1866913260782006365, 1.0808498061198134434)),
    (
        NGD,
        (0.6, 0.3, 0.2),
        1.5,
        1.0,
        (1.086417318377758172, 0.95409778831685757365, 0.92752498061837621019),
    ),
    (
        NGD_LAYER,
        (0.6, 0.3, 0.2),
        1.5,
        1.0,
        (1.7934480927539864225, 0.89672404637699321125, 0.59781603091799547417),
    ),
]
# simulated in double precision at a relative tolerance of 1e-12
SIMULATED = [
    (GD, (0.8376188566580463, 0.6569667792431846, 0.6177421379743719)),
    (SQRT, (1.0758549147138508, 0.9420529695903107, 0.9151304811413432)),
    (SQRT_LAYER, (1.3547114197771049, 1.054711419777105, 0.9547114197771047)),
]
ENDS = {
    "full": (1.2305413554842905903, 1.1154514904544774615, 1.0928092365811680051),
    "natural": (2.0800838230519041145, 1.0400419115259520573, 0.69336127435063470484),
    "square root": (1.390012845232714875, 1.090012845232714875, 0.99001284523271487505),
}
# time of the full rule from 0.05 in every layer to 0.95 s: powers 0, 1/4, 1/2, 3/4, 1
TIMES = {
    (1, 2): (4.4667001980281519583, 3.3968207724034192383, 3.0097724101176725043,
             2.9235899937199450793, 2.9932291433358724631),
    (1, 3): (20.221438217702235752, 5.2342504295444993152, 3.0983482636213504301,
             2.8235866076736764487, 2.9956072657408398907),
    (1, 4): (200.57489692650368457, 10.93957521226050677, 3.2038117991742057944,
             2.7232449169175349899, 2.9957260235344596621),
    (1, 6): (40000.659470153720382, 93.177552566056883418, 3.4325481158167407625,
             2.5557086786816943982, 2.9957322579289908714),
    (1, 10): (3200000000.6351767229, 18177.769974282856567, 3.8883894370991398066,
              2.3233449268468769908, 2.9957322735538933372),
    (2, 2): (2.4069499812331787818, 2.0701664955971499775, 2.1429021287918561726,
             2.4627175505974274149, 2.9944814916523383642),
    (2, 3): (10.088061394752637282, 2.7691777570762769219, 1.9630930386263062,
             2.2419191186672897355, 2.9956697716007846094),
    (2, 10): (1600000000.1824530824, 9088.8684737085308258, 2.0894104957739331922,
              1.7007880536504941635, 2.9957322735539421653),
}  # fmt: skip
# gradient descent, square root and natural gradient from a0 in every layer to 0.95, s = 1
BY_START = {
    (2, 0.3): (2.6290369541735355592, 2.6428152802635246297, 2.9014215940827496666),
    (2, 0.001): (8.3799742685651072819, 3.0791278883141397535, 2.9957312735534909931),
    (3, 0.1): (10.217686278956209203, 3.0117051037345135203, 2.9947317732204074599),
    (3, 0.001): (1000.2226877802071188, 3.1832214597145053892, 2.9957322725539909929),
    (4, 0.3): (6.0865803907353431411, 2.7028355254936610166, 2.9875992903238019989),
    (4, 0.01): (5000.5760969291076943, 3.2838119241346398238, 2.9957322635539909434),
    (4, 0.001): (500000.57614642910786, 3.301811924174639424, 2.9957322735529909934),
}
# square root from weights of exactly zero, as a limit: depth -> time to 0.95, s = 1 and 2
FROM_ZERO = {
    2: (3.0805421023479176522, 2.1782722103008760961),
    3: (3.1849535105225072792, 2.0063949854219396685),
    4: (3.303811924174639824, 1.964458323429656037),
    10: (4.046503320107560177, 2.1684674372781430264),
    100: (10.292862825316924657, 5.1822276739626783554),
}
OTHER_TIMES = [
    (GD, (0.5, 0.1), 2.0, 1.9, 1.49319714362958484),
    (GD, (0.1, 0.1), 2.0, 1.9, 2.0594359509727332139),
    (SQRT, (0.5, 0.1), 2.0, 1.9, 1.9751678954692545399),
    (CurvatureCorrection(1.0, damping=0.1), (0.5, 0.1), 2.0, 1.9, 3.119734179932659602),
    (GD, (0.6, 0.3, 0.2), 1.5, 1.425, 1.9534694083611627518),
    (SQRT, (0.6, 0.3, 0.2), 1.5, 1.425, 2.0125544429810111328),
    (NGD, (0.6, 0.3, 0.2), 1.5, 1.425, 2.9714395809849464278),
    (SQRT_LAYER, (0.6, 0.3, 0.2), 1.5, 1.425, 1.1568491314808151916),
    (NGD_LAYER, (0.6, 0.3, 0.2), 1.5, 1.425, 2.9714395809849464278),
]


@pytest.mark.parametrize(("rule", "start", "target", "time", "expected"), STATES)
def test_states(rule, start, target, time, expected):
    found = mode_trajectory(rule, np.array(start), target, np.array([time]))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize(("rule", "expected"), SIMULATED)
def test_simulated_states(rule, expected):
    found = mode_trajectory(rule, np.array([0.6, 0.3, 0.2]), 1.5, np.array([1.0]))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("rule", "end"),
    [(GD, "full"), (SQRT, "full"), (NGD, "full"), (NGD_LAYER, "natural"),
     (SQRT_LAYER, "square root")],
)  # fmt: skip
def test_end_points(rule, end):
    found = mode_trajectory(rule, np.array([0.6, 0.3, 0.2]), 1.5, np.array([80.0]))[0]
    np.testing.assert_allclose(found, ENDS[end], rtol=1e-13)


@pytest.mark.parametrize("key", TIMES)
def test_learning_time_table(key):
    strength, depth = key
    for power, expected in zip((0.0, 0.25, 0.5, 0.75, 1.0), TIMES[key], strict=True):
        rule, weights = CurvatureCorrection(power), np.full(depth, 0.05)
        found = learning_time(rule, weights, strength, 0.95 * strength)
        assert found == pytest.approx(expected, rel=2e-13)
        # the layer rule with its default scale is the same on balanced paths, and
        # unscaled it is faster by d**power
        layer = CurvatureCorrection(power, "layer")
        assert learning_time(layer, weights, strength, 0.95 * strength) == pytest.approx(
            expected, rel=2e-13
        )
        unscaled = CurvatureCorrection(power, "layer", scale=1.0)
        assert learning_time(unscaled, weights, strength, 0.95 * strength) == pytest.approx(
            expected * depth**-power, rel=2e-13
        )


@pytest.mark.parametrize("key", BY_START)
def test_learning_time_by_start(key):
    depth, start = key
    for rule, expected in zip((GD, SQRT, NGD), BY_START[key], strict=True):
        found = learning_time(rule, np.full(depth, start), 1.0, 0.95)
        assert found == pytest.approx(expected, rel=2e-13)


@pytest.mark.parametrize("depth", FROM_ZERO)
def test_square_root_from_vanishing_weights(depth):
    # the limit is approached linearly in the start, by sqrt(d) s^(1/d - 1) times it in x
    start = 1e-4 if depth < 100 else 0.05
    for strength, expected in zip((1.0, 2.0), FROM_ZERO[depth], strict=True):
        found = learning_time(SQRT, np.full(depth, start), strength, 0.95 * strength)
        head = np.sqrt(depth) * start / strength
        assert found + head == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("rule", "start", "target", "stop", "expected"), OTHER_TIMES)
def test_other_learning_times(rule, start, target, stop, expected):
    assert learning_time(rule, np.array(start), target, stop) == pytest.approx(expected, rel=1e-13)


def test_damped_layer_natural_gradient_ends_on_its_own_curve():
    rule = CurvatureCorrection(1.0, "layer", damping=0.1)
    found = mode_trajectory(rule, np.array([0.5, 0.1]), 2.0, np.array([200.0]))[0]
    np.testing.assert_allclose(found, (1.9178865440093645279, 1.042814553471435448), rtol=1e-12)
    rule = CurvatureCorrection(0.5, "layer", damping=0.1)
    found = mode_trajectory(rule, np.array([0.5, 0.1]), 2.0, np.array([200.0]))[0]
    np.testing.assert_allclose(found, (1.5536518673791169, 1.287289670223378), rtol=1e-11)


def test_a_wrong_sign_start_blows_up_or_passes_by():
    start = np.array([0.5, 0.4, -0.5])
    blow_up = 0.095310179804324860044
    found = mode_trajectory(NGD_LAYER, start, 1.0, np.array([0.9 * blow_up]))[0]
    expected = (0.22875654396668896, 0.18300523517335118, -0.22875654396668896)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(BlowUpError, match=r"0\.0953101798") as problem:
        mode_trajectory(NGD_LAYER, start, 1.0, np.array([0.05, 0.1]))
    assert problem.value.time == pytest.approx(blow_up, rel=1e-14)
    passing = mode_trajectory(NGD, start, 1.0, np.array([1.0]))[0]
    expected = (0.8596466073179921, -0.8056005768824481, -0.8596466073179921)
    np.testing.assert_allclose(passing, expected, rtol=1e-11)
    late = mode_trajectory(GD, start, 1.0, np.array([10.0]))[0]
    expected = (1.0151779530400422, -0.9698382732902268, -1.0151779530400422)
    np.testing.assert_allclose(late, expected, rtol=1e-9)
