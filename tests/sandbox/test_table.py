"""Results as Parquet: what was written comes back bit by bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sandbox.bench import Axis, Comparison, Verdict
from sandbox.bench.record import Record, Settings
from sandbox.bench.table import read_table, write_table

FULL = Settings("full")
ABOUT = {"commit": "abc", "finished": "2026-01-01T00:00:00+00:00"}


def bits(array):
    return None if array is None else (array.shape, array.tobytes())


anything = st.floats(allow_nan=False)  # infinities, -0.0 and subnormal numbers among them
shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@st.composite
def records(draw):
    made = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(shapes)
        axes = tuple(Axis(f"x{n}", tuple(range(k)), "s", log=n > 0) for n, k in enumerate(shape))
        if axes and draw(st.booleans()):
            labels = tuple(draw(st.text(max_size=5)) for _ in range(shape[0]))
            axes = (Axis("rule – ε", labels), *axes[1:])
        rest = {}
        if draw(st.booleans()):
            width = draw(arrays(float, shape, elements=st.floats(0, allow_nan=False)))
            rest |= {"uncertainty": width, "confidence": "95 %"}
        if axes and axes[0].numeric and draw(st.booleans()):
            lines = int(np.prod(shape[1:]))
            form = draw(st.sampled_from([(5,), (5, lines)]))
            curve = draw(arrays(float, 5, elements=anything))
            rest["curve"] = (curve, draw(arrays(float, form, elements=anything)))
        predicted, measured = (draw(arrays(float, shape, elements=anything)) for _ in range(2))
        made.append(
            Comparison(
                draw(st.text()),
                predicted,
                measured,
                draw(st.floats(0, 1e300)),
                "why ≤",
                relation=draw(st.sampled_from(["equals", "at_most", "at_least"])),
                axes=axes,
                log=draw(st.booleans()),
                unit="m²",
                **rest,
            )  # fmt: skip
        )
    return Record("a/b", made, draw(st.floats(0, 1e9)), FULL, ABOUT)


@given(record=records())
def test_records_come_back_from_parquet_bit_by_bit(tmp_path_factory, record):
    path = tmp_path_factory.getbasetemp() / "record.parquet"
    write_table(path, record)
    comparisons, rest = read_table(path)
    assert rest["seconds"] == record.seconds
    assert len(comparisons) == len(record.comparisons)
    for new, old in zip(comparisons, record.comparisons, strict=True):
        for name in ("predicted", "measured", "uncertainty"):
            assert bits(getattr(new, name)) == bits(getattr(old, name))
        assert (new.curve is None) == (old.curve is None)
        if old.curve is not None:
            assert [bits(part) for part in new.curve] == [bits(part) for part in old.curve]
        for name in ("name", "tolerance", "reason", "relation", "relative", "confidence",
                     "quantity", "unit", "axes", "log"):  # fmt: skip
            assert getattr(new, name) == getattr(old, name)


def test_a_skip_comes_back_with_its_reason(tmp_path):
    old = Record("a/b", [], 0.5, FULL, ABOUT, Verdict.SKIPPED, "needs a GPU\nand luck")
    write_table(tmp_path / "skip.parquet", old)
    comparisons, rest = read_table(tmp_path / "skip.parquet")
    assert comparisons == []
    assert (rest["stopped"], rest["message"]) == ("skipped", "needs a GPU\nand luck")
