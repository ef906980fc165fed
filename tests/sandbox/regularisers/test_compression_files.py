"""Files of compressed weights: damage refused, foreign models refused, tables and numbers."""

import math
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sandbox.regularisers._coding import (
    LARGEST,
    Reader,
    Table,
    decoded,
    encoded,
    entropy,
    table,
    varint,
    zigzag,
)
from sandbox.regularisers.compression import Compressed, compress, prune


def model_of(*values):
    """Return a layer with these weights in a row."""
    layer = nn.Linear(len(values), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values]))
    return layer


SMALL = compress(model_of(1.0, -0.4, 0.0, 0.7, 0.7, -1.0), levels=15).data


def sealed(written):
    """Return bytes with the checksum that belongs to them."""
    return written + struct.pack("<I", zlib.crc32(written))


# ---- the parts


@given(st.integers(0, 2**63))
def test_numbers_come_back(number):
    assert Reader(varint(number)).varint() == number


def test_zigzag_counts_both_sides_in_turn():
    assert [zigzag(number) for number in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]


@given(st.lists(st.integers(-300, 300) | st.sampled_from([-LARGEST, LARGEST]), max_size=300))
def test_symbols_and_their_table_come_back(values):
    symbols = np.array(values, dtype=np.int32)
    own = table(symbols)
    reader = Reader(own.written() + b"rest")
    read = reader.table(len(symbols))
    assert reader.data[reader.at :] == b"rest"
    assert (read.low, read.high) == (own.low, own.high)
    np.testing.assert_array_equal(read.counts, own.counts)
    stream = encoded([(symbols, own)])
    (got,) = decoded(stream, [(len(symbols), read)])
    np.testing.assert_array_equal(got, symbols)


def test_a_table_in_elias_gamma_code_by_hand():
    # 5 of symbol -1, none of 0, 2 of 1: counts and the distance between, 00101 010 010
    own = Table(-1, 1, np.array([5, 0, 2]))
    assert own.written() == bytes([1, 2, 1, 0b00101010, 0b01000000])


def test_entropy_of_counts():
    assert entropy(np.array([1, 1, 0, 2])) == pytest.approx(1.5)
    assert entropy(np.array([7])) == entropy(np.array([0, 0])) == 0
    assert entropy(np.array([9, 1])) == pytest.approx(0.4689955935892812)


def test_symbols_that_never_occur_cost_nothing():
    symbols = np.zeros(100_000, dtype=np.int32)
    symbols[:2] = LARGEST, -LARGEST
    own = table(symbols)
    information = len(symbols) * entropy(np.array([1, 99_998, 1]))
    assert 8 * len(encoded([(symbols, own)])) <= information + 64
    assert len(own.written()) < 25


# ---- damage


def test_every_damaged_byte_is_refused():
    for place in range(len(SMALL)):
        for change in (1, 128, 255):
            bad = bytearray(SMALL)
            bad[place] ^= change
            with pytest.raises(ValueError, match="data"):
                Compressed(bytes(bad))


def test_every_cut_and_every_addition_is_refused():
    for length in range(len(SMALL)):
        with pytest.raises(ValueError, match="data"):
            Compressed(SMALL[:length])
    with pytest.raises(ValueError, match="checksum"):
        Compressed(SMALL + b"\x00")


@given(st.integers(4, len(SMALL) - 5), st.integers(0, 255))
def test_forged_bytes_with_a_right_checksum_decode_or_are_refused(place, value):
    forged = bytearray(SMALL[:-4])
    forged[place] = value
    try:
        found = Compressed(sealed(bytes(forged)))
        if found.weights < 1e6:
            found.tensors()
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (b"NSW1" + b"\xff" * 10, "more than 64 bits"),
        (b"NSW1\x01\x05ab", "ends before"),
        (b"NSW1\x01\x01a\x09", "type of number 9"),
        (b"NSW1\x00abc", "no whole words"),
        (b"NSW1\x01\x01a\x00\x01\x03" + bytes(8) + b"\x00\x01\x01\xff", "not those of as many"),
        (b"NSW1\x01\x01a\x00\x01\x02" + bytes(8) + b"\x00\x01\x01", "ends within"),
        (b"NSW1\x01\x01a\x00\x01\x02" + bytes(8) + varint(10**6) + b"\x00", "beyond 32767"),
        (b"NSW1\x01\x01a\x00\x01\x02" + bytes(8) + b"\x00\x01\x01\x90", "beyond the largest"),
        (b"NSW1\x01\x01\xff\x00", "name"),
        (b"NSW1\x01\x01a\x00\x01\x02" + bytes(8) + b"\x00\x01\x02", "of kind 2"),
        (b"NSW1\x01\x01a\x00\x01\x02" + struct.pack("<d", math.nan) + bytes(2), "step of nan"),
        (b"NSW1\x01\x01a\x00\x01\x02" + struct.pack("<d", -1.0) + bytes(2), "step of -1"),
        (b"NSW1\x01\x01a\x00\x01\x02" + struct.pack("<d", 1e308) + b"\x04\x00", "step of 1e"),
        (b"NSW1\x01\x01a\x00\x41" + b"\x01" * 65 + bytes(10), "65 dimensions"),
        (b"NSW1\x01\x01a\x00\x02" + 2 * varint(2**40) + bytes(10), "2 dimensions"),
        (b"NSW1\x02" + 2 * (b"\x01a\x00\x01\x02" + bytes(10)), "'a' twice"),
    ],
)
def test_what_no_file_says_is_refused(written, words):
    with pytest.raises(ValueError, match=words):
        Compressed(sealed(written))


def test_counts_whose_sum_wraps_round_are_refused():
    counts = np.array([2**62] * 4 + [5])
    written = b"NSW1\x01\x01a\x00\x01\x05" + bytes(8) + Table(0, 4, counts).written()
    with pytest.raises(ValueError, match="not those of as many"):
        Compressed(sealed(written + bytes(8)))


def test_sizes_beyond_the_stream_or_beyond_memory_are_refused_before_the_coder_fails():
    many = varint(2**50)
    equal = b"NSW1\x01\x01a\x00\x01" + many + bytes(8) + b"\x00\x01\x00" + bytes(8)
    with pytest.raises(ValueError, match="too short"):
        Compressed(sealed(equal)).tensors()
    counted = Table(0, 1, np.array([2**50 - 1, 1])).written()
    for table_of_all in (counted, b"\x02\x00"):
        found = Compressed(sealed(b"NSW1\x01\x01a\x00\x01" + many + bytes(8) + table_of_all))
        assert found.weights == 2**50
        with pytest.raises(MemoryError):
            found.tensors()
        with pytest.raises(ValueError, match="no parameter 'a'"):
            found.restore(nn.Linear(2, 2))


def test_more_symbols_than_a_piece_come_back(monkeypatch):
    monkeypatch.setattr("sandbox.regularisers._coding.PIECE", 7)
    symbols = np.random.default_rng(0).integers(-3, 4, 100).astype(np.int32)
    own = table(symbols)
    (got,) = decoded(encoded([(symbols, own)]), [(100, own)])
    np.testing.assert_array_equal(got, symbols)


@pytest.mark.bad_input
@pytest.mark.parametrize("data", [b"", b"NSW1", b"PK\x03\x04" + bytes(40), "NSW1", None])
def test_what_is_no_file_is_refused(data):
    with pytest.raises(ValueError, match="data"):
        Compressed(data)


# ---- models


@pytest.mark.bad_input
def test_another_model_is_refused_and_left_as_it_was():
    found = compress(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3)))
    others = {
        "no parameter '1.weight'": nn.Sequential(nn.Linear(2, 2)),
        r"1.weight has shape \(4, 2\)": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 4)),
        "type torch.float64": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3).double()),
    }
    for words, model in others.items():
        before = [p.detach().clone() for p in model.parameters()]
        with pytest.raises(ValueError, match=words):
            found.restore(model)
        assert all(map(torch.equal, before, model.parameters()))
    with pytest.raises(ValueError, match="model = None"):
        found.restore(None)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"share": -0.1}, "share = -0.1"),
        ({"share": 1.5}, "share = 1.5"),
        ({"share": math.nan}, "share = nan"),
        ({"levels": 4}, "levels = 4: must be odd"),
        ({"levels": 1}, "levels = 1"),
        ({"levels": 65_537}, "levels = 65537"),
        ({"levels": 7.5}, "levels = 7.5"),
        ({"step": 0.0}, "step = 0.0"),
        ({"step": 1e-9}, r"step = 1e-09: weight reaches 1, .*take 3.05e-05 or more"),
        ({"biases": "all"}, "biases = 'all'"),
    ],
)
def test_bad_settings_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        compress(model_of(1.0, 0.5), **arguments)


@pytest.mark.bad_input
def test_bad_weights_are_refused_and_left_as_they_were():
    lost = nn.Sequential(model_of(1.0, 0.001), model_of(1.0, math.nan))
    for work in (prune, compress):
        with pytest.raises(ValueError, match=r"1\.weight has weights that are not finite"):
            work(lost)
        with pytest.raises(ValueError, match="no weight of two dimensions"):
            work(nn.LayerNorm(2))
        with pytest.raises(ValueError, match="model = 3"):
            work(3)
    assert lost[0].weight[0, 1] != 0
    with pytest.raises(ValueError, match="share = 2"):
        prune(lost, 2)
    for peak in (1e-300, 1e300):
        with pytest.raises(ValueError, match="steps lose digits"):
            compress(
                nn.Sequential(model_of(1.0).double()).requires_grad_(False).apply(_times(peak))
            )


@pytest.mark.bad_input
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_a_step_of_which_no_multiple_fits_the_type_is_refused(dtype):
    largest = torch.finfo(dtype).max
    layer = model_of(1.0, 0.5).to(dtype)
    layer.weight.data[0, 0] = largest
    with pytest.raises(ValueError, match="weight is .* beyond torch"):
        compress(layer, step=0.6 * largest)
    for levels in (3, 15, 255, 65_535):
        assert compress(layer, levels=levels).tensors()["weight"][0, 0] == largest


@pytest.mark.bad_input
def test_a_type_without_a_number_is_refused():
    layer = model_of(1.0, 0.5).to(torch.float8_e4m3fn)
    with pytest.raises(ValueError, match="weight is of type torch.float8"):
        compress(layer)


def _times(peak):
    """Return a function that multiplies a layer's weights."""

    def multiply(module):
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(0).add_(peak)

    return multiply
