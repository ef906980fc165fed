"""Named seeds and Philox: known answers, equal bits in every engine, and independence."""

import hashlib
import itertools
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from theory._kernels import philox_uniform, philox_uniform_pair, philox_words
from theory.streams import Streams, philox, uniforms

# (counter, key, result): file kat_vectors of Random123 1.14, lines "philox4x32 10"
KNOWN = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
WORDS = st.integers(0, 2**32 - 1)


@numba.njit
def kernel_words(key, counters):
    """The compiled generator, called from a kernel as a simulation would."""
    out = np.empty(counters.shape, dtype=np.uint64)
    for i in range(counters.shape[0]):
        c0, c1, c2, c3 = counters[i]
        out[i] = philox_words(key[0], key[1], c0, c1, c2, c3)
    return out


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers_in_every_engine(counter, key, result):
    assert philox(counter, key) == result
    arrays = philox([np.array([word]) for word in counter], key)
    assert tuple(int(word[0]) for word in arrays) == result
    tensors = philox([torch.tensor(word) for word in counter], [torch.tensor(w) for w in key])
    assert tuple(word.item() for word in tensors) == result
    assert tuple(int(word) for word in philox_words(*key, *counter)) == result


@given(counter=st.tuples(WORDS, WORDS, WORDS, WORDS), key=st.tuples(WORDS, WORDS))
def test_ints_and_the_kernel_agree(counter, key):
    assert tuple(int(word) for word in philox_words(*key, *counter)) == philox(counter, key)


def test_numpy_torch_and_numba_give_the_same_bits():
    rng = Streams(1).generator("counters")
    counters = rng.integers(0, 2**32, size=(20_000, 4))
    key = Streams(1).key("bits")
    columns = tuple(np.ascontiguousarray(column) for column in counters.T)
    in_numpy = np.stack(philox(columns, key), axis=1)
    in_torch = torch.stack(philox(tuple(torch.from_numpy(c) for c in columns), key), dim=1)
    in_numba = kernel_words(key, counters)
    assert in_numpy.dtype == np.int64
    assert in_torch.dtype == torch.int64
    np.testing.assert_array_equal(in_torch.numpy(), in_numpy)
    np.testing.assert_array_equal(in_numba.astype(np.int64), in_numpy)

    numbers = uniforms(key, columns)
    tensor = uniforms(key, tuple(torch.from_numpy(c) for c in columns))
    assert numbers.dtype == np.float64
    assert tensor.dtype == torch.float64
    assert numbers.tobytes() == tensor.numpy().tobytes()
    for i in range(100):
        assert philox_uniform(*key, *counters[i]) == numbers[i]
        assert philox_uniform_pair(*key, *counters[i])[0] == numbers[i]


def test_two_words_make_53_bits():
    # 53-bit assembly, from the first known answer by hand: a = 6627e8d5, b = e169c58d
    bits = (0x6627E8D5 >> 5) * 2**26 + (0xE169C58D >> 6)
    assert uniforms((0, 0), (0, 0, 0, 0)) == bits / 2**53
    c, d = 0xBC57AC4C, 0x9B00DBD8
    assert philox_uniform_pair(0, 0, 0, 0, 0, 0)[1] == ((c >> 5) * 2**26 + (d >> 6)) / 2**53


def test_the_largest_word_gives_less_than_one():
    largest = ((2**32 - 1) >> 5) * 2**26 + ((2**32 - 1) >> 6)
    assert largest == 2**53 - 1
    assert largest * 2.0**-53 < 1.0


def test_shapes_broadcast():
    steps, units = np.arange(3)[:, None], np.arange(4)[None, :]
    numbers = uniforms((1, 2), (steps, units, 0, 5))
    assert numbers.shape == (3, 4)
    assert numbers[2, 1] == uniforms((1, 2), (2, 1, 0, 5))


@pytest.mark.parametrize("position", range(6))
def test_every_word_of_counter_and_key_matters(position):
    # 64 counters that differ in one word: two equal 53-bit numbers have chance 2e-13
    words = [3, 1, 4, 1, 5, 9]
    words[position] = np.arange(64)
    numbers = uniforms(tuple(words[4:]), tuple(words[:4]))
    assert len(np.unique(numbers)) == 64


def test_uniforms_are_uniform_along_every_counter_word():
    # four chi-square tests on 200 cells and four on 20 x 20 cells of neighbours (both tails),
    # each at 1e-5: a sound generator fails this file for one root in 6,000
    key = Streams(2).key("uniformity")
    for position in range(4):
        counter = [7, 7, 7, 7]
        counter[position] = np.arange(100_000)
        numbers = uniforms(key, tuple(counter))
        cells = np.bincount((numbers * 200).astype(int), minlength=200)
        pairs = (numbers[:-1:2] * 20).astype(int) * 20 + (numbers[1::2] * 20).astype(int)
        joint = np.bincount(pairs, minlength=400)
        for counts in (cells, joint):
            chance = stats.chisquare(counts).pvalue
            assert 1e-5 < chance < 1 - 1e-5


def test_children_depend_on_root_name_and_index_and_on_nothing_else():
    streams = Streams(11)
    wanted = streams.generator("weights", 2).normal(size=5)
    for name, index in [("inputs", 0), ("weights", 1), ("noise", 7)]:
        streams.generator(name, index).normal(size=100)
    np.testing.assert_array_equal(Streams(11).generator("weights", 2).normal(size=5), wanted)

    addresses = itertools.product((11, 12), ("weights", "weight", "weights0"), (0, 1, 2**32, 2**33))
    children = [Streams(r).sequence(name, i) for r, name, i in addresses]
    states = {tuple(child.generate_state(4).tolist()) for child in children}
    assert len(states) == len(children) == 24


def test_a_child_keeps_its_numbers_from_one_release_to_the_next():
    # the address rebuilt by hand; the numbers were made by numpy 2.3.5 and must never change,
    # for every stored result depends on them
    words = np.frombuffer(hashlib.sha256(b"weights").digest(), dtype="<u4").tolist()
    child = np.random.SeedSequence(7, spawn_key=(*words, 5, 1)).generate_state(12)
    streams = Streams(7)
    index = 2**32 + 5
    np.testing.assert_array_equal(streams.sequence("weights", index).generate_state(12), child)
    assert streams.integer("weights", index) == (int(child[9]) << 32 | int(child[8])) >> 1
    assert streams.key("weights", index) == (child[10], child[11])
    assert streams.sequence("weights").generate_state(2).tolist() == [1003602233, 1860038592]
    assert streams.integer("weights") == 5284136865947622270
    assert streams.key("weights") == (1289043931, 896671960)


def test_seed_key_and_generator_of_a_name_share_no_words():
    streams = Streams(3)
    seeds = streams.sequence("all").generate_state(8).tolist()
    words = [*streams.key("all"), *seeds]
    number = streams.integer("all")
    assert len(set(words)) == len(words)
    assert not {(number << 1) & 0xFFFFFFFE, number >> 31} & {word & ~1 for word in words}
    assert streams("all", 4).spawn_key == streams.sequence("all", 4).spawn_key


def test_integers_seed_torch():
    numbers = [Streams(3).integer("torch", i) for i in range(200)]
    assert len(set(numbers)) == 200
    assert all(0 <= number < 2**63 for number in numbers)
    assert max(numbers) >= 2**62  # all 63 bits are in use: fails with chance 2**-200
    draws = [torch.rand(3, generator=torch.Generator().manual_seed(n)) for n in numbers[:2]]
    assert not torch.equal(*draws)


def test_named_streams_are_uncorrelated():
    # 45 pairs of 20,000 normals: |r| < 5.3 / sqrt(n) each; a sound generator fails one root in
    # 190,000
    draws = np.stack([Streams(5).generator(f"stream {i}").normal(size=20_000) for i in range(10)])
    off = np.corrcoef(draws)[np.triu_indices(10, 1)]
    assert np.abs(off).max() < 5.3 / 20_000**0.5


@pytest.mark.bad_input
@pytest.mark.parametrize("root", [-1, 2**128, 0.5, "seed", True])
def test_a_wrong_root_is_refused(root):
    with pytest.raises(ValueError, match=r"root = .*: must be a whole number >= 0 and <= 3402"):
        Streams(root)


@pytest.mark.parametrize(
    ("name", "index", "message"),
    [
        ("", 0, r"name = '': must be a non-empty string"),
        ("weights", -1, r"index = -1: must be a whole number >= 0"),
        ("weights", 2**64, r"index = 18446744073709551616"),
    ],
)
def test_a_wrong_address_is_refused(name, index, message):
    with pytest.raises(ValueError, match=message):
        Streams(0).sequence(name, index)


@pytest.mark.parametrize(
    ("counter", "key", "message"),
    [
        ((0, 0, 0), (0, 0), r"counter = \(0, 0, 0\): must be 4 words"),
        ((0, 0, 0, 0), 7, r"key = 7: must be 2 words"),
        ((0, 0, 0, 2**32), (0, 0), r"counter\[3\] = 4294967296: must be 4 words in \[0, 2\*\*32\)"),
        ((0, 0, 0, 0), (0, -1), r"key\[1\] = -1"),
        ((0.5, 0, 0, 0), (0, 0), r"counter\[0\] has type float"),
        ((np.zeros(2, np.uint32), 0, 0, 0), (0, 0), r"counter\[0\] has type uint32"),
        ((0, np.array([1, -1]), 0, 0), (0, 0), r"counter\[1\] = array\(\[ 1, -1\]\)"),
        ((torch.zeros(2), 0, 0, 0), (0, 0), r"counter\[0\] has type float32"),
    ],
)
def test_wrong_words_are_refused(counter, key, message):
    with pytest.raises(ValueError, match=message):
        philox(counter, key)
    with pytest.raises(ValueError, match=message):
        uniforms(key, counter)


def test_words_of_tensors_wrap():
    assert philox((torch.tensor(-1), 0, 0, 0), (0, 0)) == philox((2**32 - 1, 0, 0, 0), (0, 0))


def test_the_import_is_light():
    # the listing of claims imports this module: at most 30 ms of processor time beyond numpy and
    # the dataclasses that every listing needs, and none of the heavy libraries
    code = (
        "import dataclasses, sys, time, numpy; start = time.process_time(); import theory.streams;"
        "print(time.process_time() - start);"
        "print([m for m in ('numba', 'torch', 'sympy', 'jaxtyping') if m in sys.modules])"
    )
    times = []
    for _ in range(3):
        made = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        seconds, heavy = made.stdout.splitlines()
        assert heavy == "[]"
        times.append(float(seconds))
    assert min(times) < 0.03
