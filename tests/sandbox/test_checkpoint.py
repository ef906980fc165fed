"""States come back bit for bit; a file that is not whole or not ours is refused with the reason."""

import json
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from small_training import bits
from torch import nn

from sandbox.training import checkpoint
from sandbox.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    read_state,
    write_state,
)

DTYPES = sorted(checkpoint.STORABLE, key=str)
ARRAYS = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f2", "f4", "f8", "c8"]


@st.composite
def tensors(draw):
    """Any bits of any type and shape, dense or not."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = int(np.prod(shape, dtype=int)) * dtype.itemsize
    content = bytearray(draw(st.binary(min_size=count, max_size=count)))
    if dtype == torch.bool:
        content = bytearray(byte & 1 for byte in content)
    flat = torch.frombuffer(content, dtype=torch.uint8) if count else torch.empty(0).byte()
    made = flat.clone().view(dtype).reshape(shape)
    if draw(st.booleans()) and made.ndim:
        made = made.expand(2, *shape).transpose(0, -1)[:1]  # strided, its entries shared
    return made


@st.composite
def arrays(draw):
    """Any bits of any type that torch has too."""
    dtype = np.dtype(draw(st.sampled_from(ARRAYS)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = int(np.prod(shape, dtype=int)) * dtype.itemsize
    content = draw(st.binary(min_size=count, max_size=count))
    if dtype == np.bool_:
        content = bytes(byte & 1 for byte in content)
    made = np.frombuffer(content, dtype).reshape(shape)
    made = made[..., ::-1] if draw(st.booleans()) and made.ndim else made
    return made if draw(st.booleans()) or made.size == 0 else made.reshape(-1)[0]


KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda keys: st.tuples(keys, keys),
    max_leaves=3,
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(max_size=8)
    | tensors()
    | arrays()
)
TREES = st.recursive(
    LEAVES,
    lambda trees: (
        st.lists(trees, max_size=3)
        | st.lists(trees, max_size=3).map(tuple)
        | st.dictionaries(KEYS, trees, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("states") / "state.safetensors"


@settings(max_examples=100)
@given(st.dictionaries(KEYS, TREES, max_size=4))
@example({"": [float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 2**64, -(10**40)]})
@example({1: 1, 1.5: 1.0, (1, ("a", None)): True, "1": [(), [], {}, {"tensor": "0"}]})
@example({"float": "nan", "dict": [["a", 1]], "tuple": ["\x00é😀"], "format": None})
@example({"one": torch.zeros(4)[::2][:1], "none": torch.zeros(0, 3), "scalar": torch.tensor(True)})
def test_any_state_comes_back_bit_for_bit(file, state):
    write_state(file, state)
    assert bits(read_state(file)) == bits(state)


def test_views_of_the_same_memory_come_back_as_what_they_show(file):
    base = torch.arange(6, dtype=torch.bfloat16)
    state = {"a": base, "b": base[2:5], "c": base.view(2, 3).T, "d": nn.Parameter(base.float())}
    write_state(file, state)
    found = read_state(file)
    assert bits(found) == bits(state)
    assert not any(tensor.requires_grad for tensor in found.values())
    found["a"].zero_()  # writable, and nobody else's
    assert found["b"].tolist() == [2.0, 3.0, 4.0]
    assert base[1] == 1


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"a": {1, 2}}, r"state\['a'\] = {1, 2} of type set"),
        ({"a": [0, {"b": (object(),)}]}, r"state\['a'\]\[1\]\['b'\]\[0\] = <object"),
        ({frozenset(): 1}, r"state key = frozenset\(\) of type frozenset"),
        ({"a": np.array(["x"])}, r"state\['a'\]: cannot be stored \(can't convert"),
        ({"a": np.array([None])}, r"state\['a'\]: cannot be stored \(can't convert"),
        ({"a": np.zeros(2, ">f4")}, r"state\['a'\]: cannot be stored \(.*byte order"),
        ({"a": torch.zeros(2, dtype=torch.complex128)}, r"state\['a'\] of type torch.complex128"),
        ({"a": torch.eye(2).to_sparse()}, r"state\['a'\]: cannot be stored"),
        ({"a": torch.empty(2, device="meta")}, r"state\['a'\]: cannot be stored"),
        ({"a": torch.Size([2])}, r"state\['a'\] = torch.Size\(\[2\]\) of type Size"),
        ({"a": b"bytes"}, r"state\['a'\] = b'bytes' of type bytes"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_place(tmp_path, state, path):
    with pytest.raises(ValueError, match=path):
        write_state(tmp_path / "state", state)
    assert not list(tmp_path.iterdir())


STATE = {
    "step": 3,
    "weights": torch.arange(40, dtype=torch.float64),
    "on": torch.tensor([True, False]),
    "words": ["é", (1.5, None)],
}


@pytest.mark.parametrize("length", [*range(200, 900, 8), 0x4B50])
def test_no_length_of_the_description_is_taken_for_a_pickle(file, length):
    # the file begins with this length: 0x80 begins a pickle, PK (0x4B50) a zip
    write_state(file, {"x": ""})
    (shortest,) = struct.unpack("<Q", file.read_bytes()[:8])
    state = {"x": "x" * max(0, length - shortest)}
    write_state(file, state)
    assert bits(read_state(file)) == bits(state)
    if length > shortest:
        assert struct.unpack("<Q", file.read_bytes()[:8]) == (length,)


def test_a_truncated_file_is_refused_at_every_length(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    write_state(whole, STATE)
    data = whole.read_bytes()
    for length in [*range(20), *range(20, len(data), 7), len(data) - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="truncated") as refused:
            read_state(cut)
        assert str(refused.value).startswith(f"{cut}: ")
    cut.write_bytes(data + b"\0")
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_state(cut)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_a_flipped_byte_anywhere_is_noticed(tmp_path, flip):
    file = tmp_path / "file"
    write_state(file, STATE)
    data = file.read_bytes()
    (header,) = struct.unpack("<Q", data[:8])
    first = 8 + header
    text = data[8:first].rstrip(b" ")
    # every byte of the header, every third of the tensors; the header is filled up with blanks
    for place in [*range(8 + len(text)), *range(first, len(data), 3), len(data) - 1]:
        changed = bytearray(data)
        changed[place] ^= flip
        file.write_bytes(changed)
        with pytest.raises(CheckpointError):
            read_state(file)
    for place in (first, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= flip
        file.write_bytes(changed)
        with pytest.raises(CheckpointError, match="damaged .its SHA-256 is not the one it states"):
            read_state(file)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"dtype":"F64","shape":[40]', b'"dtype":"I64","shape":[40]'),
     (b'"shape":[40]', b'"shape":[8,5]'), (b'"1":', b'"2":')],
)  # fmt: skip
def test_a_description_that_says_something_else_is_noticed(file, old, new):
    write_state(file, STATE)
    data = file.read_bytes()
    assert data.count(old) == 1
    (size,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + size].replace(old, new)
    file.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + size :])
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(file)


def test_what_is_no_checkpoint_is_refused_with_the_reason(tmp_path):
    file = tmp_path / "file"
    with pytest.raises(CheckpointError, match=r"cannot be read \(No such file or directory\)"):
        read_state(file)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Is a directory\)"):
        read_state(tmp_path)
    for save in (torch.save, lambda *a: torch.save(*a, _use_new_zipfile_serialization=False)):
        save({"weights": torch.zeros(3)}, file)
        with pytest.raises(CheckpointError, match=r"a pickle \(torch.save or pickle.dump\)"):
            read_state(file)
    for protocol in range(2, 6):
        file.write_bytes(pickle.dumps({"weights": [0.0] * 99}, protocol))
        with pytest.raises(CheckpointError, match="a pickle"):
            read_state(file)
    save_file({"weights": torch.zeros(3)}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"another program or version .*'pt'"):
        read_state(file)
    save_file({"weights": torch.zeros(3)}, file)
    with pytest.raises(CheckpointError, match=r"another program or version .*None"):
        read_state(file)
    for header in (
        b"[]",
        b'{"__metadata__": null}',
        b'{"__metadata__": 3}',
        b"{" * 5000,
        b"\xff{}",
    ):
        file.write_bytes(struct.pack("<Q", len(header)) + header)
        with pytest.raises(CheckpointError):
            read_state(file)
    generator = np.random.default_rng(0)
    for length in (0, 1, 7, 8, 9, 100, 5000):
        file.write_bytes(generator.bytes(length))
        with pytest.raises(CheckpointError):
            read_state(file)


def test_another_version_is_refused_by_name(tmp_path, monkeypatch):
    file = tmp_path / "file"
    monkeypatch.setattr(checkpoint, "FORMAT", "neurotheory-sandbox state 0")
    write_state(file, STATE)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="state 0', not 'neurotheory-sandbox state 1'"):
        read_state(file)


def test_nothing_in_the_file_needs_more_than_json_to_be_read(file):
    write_state(file, STATE)
    data = file.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    marks = json.loads(data[8 : 8 + size])["__metadata__"]
    tree = dict(json.loads(marks["tree"])["dict"])
    assert tree == {
        "step": 3,
        "weights": {"tensor": "0"},
        "on": {"tensor": "1"},
        "words": {"list": ["é", {"tuple": [1.5, None]}]},
    }


def test_checkpoints_check_their_numbers(tmp_path):
    made = Checkpoints(str(tmp_path), seconds=0, steps=3)
    assert (made.folder, made.file) == (tmp_path, tmp_path / "state.safetensors")
    assert Checkpoints(tmp_path) == Checkpoints(tmp_path, 30.0, None)
    for wrong in ({"seconds": -1}, {"seconds": float("nan")}, {"steps": 0}, {"steps": 1.5}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} = "):
            Checkpoints(tmp_path, **wrong)
