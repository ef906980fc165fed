"""The command ``sandbox data``: what is at hand, how to get the rest. No network."""

from pathlib import Path

import pytest
import requests
import toy_data

from sandbox.training.data import CATALOG

URLS = [toy_data.URL + name for name in toy_data.NAMES]


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    """A machine with Python packages, but neither Debian's nor a cache nor a network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SANDBOX_DATA", raising=False)
    monkeypatch.setitem(CATALOG, "toy", toy_data.toy_entry(tmp_path / "debian"))
    asked = []

    def downloader(url, output, _):
        asked.append(url)
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.setattr("pooch.core.choose_downloader", lambda url, progressbar=False: downloader)
    return asked


@pytest.fixture
def debian(tmp_path):
    return toy_data.put(tmp_path / "debian")


def test_the_list_tells_where_each_would_be_read_from(sandbox, tmp_path, nothing_at_hand):
    code, out, err = sandbox("data")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert list(lines) == list(CATALOG)
    for name, entry in CATALOG.items():
        assert f" {' x '.join(map(str, entry.shape))} " in lines[name]
        assert f" {len(entry.classes)} classes " in lines[name]
    assert lines["digits"].endswith("classes  Python package sklearn")
    for name, size in (("mnist", 12), ("cifar10", 170)):
        url = CATALOG[name].url
        assert lines[name].endswith(
            f"not at hand; with a network: downloaded from {url} ({size} MB)"
        )
    toy_data.put(tmp_path / "debian")
    assert sandbox("data")[1].splitlines()[-1].endswith("Debian package dataset-toy")
    assert nothing_at_hand == []  # listing downloads nothing


def test_a_data_set_is_described_at_length(sandbox, debian):
    code, out, err = sandbox("data", "toy")
    assert (code, err) == (0, "")
    digests = [file.contents for file in CATALOG["toy"].files]
    assert out.splitlines() == [
        "toy: made up",
        "read from      Debian package dataset-toy",
        "samples        5 for training, 2 for the test",
        "sample         2 x 3",
        "classes        a, b, c",
        "normalisation  raw features 0 to 255 divided by 255",
        f"SHA-256        {digests[0]}",
        *(" " * 15 + digest for digest in digests[1:]),
    ]


def test_digits_are_described_without_a_network(sandbox):
    code, out, _ = sandbox("data", "digits", "--fetch")
    assert code == 0
    assert out.startswith("digits: Alpaydin & Kaynak (1998)")
    assert "read from      Python package sklearn\n" in out
    assert "1438 for training, 359 for the test" in out


def test_what_is_missing_is_told_how_to_get(sandbox, nothing_at_hand):
    code, out, err = sandbox("data", "toy")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "toy: made up",
        "not at hand. Ways to get it:",
        "  - put train-images.gz, train-labels.gz, test-images.gz, test-labels.gz into"
        " <folder>/toy, then pass folder=<folder> or set SANDBOX_DATA=<folder>",
        "  - apt install dataset-toy",
        "  - with a network: downloaded from https://example.org/toy/ (1 MB)",
    ]
    assert nothing_at_hand == []  # not unless asked to


def test_fetch_downloads_what_is_missing(sandbox, monkeypatch, tmp_path):
    served, asked = dict(zip(URLS, toy_data.PACKED, strict=True)), []

    def downloader(url, output, _):
        asked.append(url)
        Path(output).write_bytes(served[url])

    monkeypatch.setattr("pooch.core.choose_downloader", lambda url, progressbar=False: downloader)
    code, out, _ = sandbox("data", "toy", "--fetch")
    assert code == 0
    assert asked == URLS
    cache = tmp_path / "cache/neurotheory-sandbox/toy"
    assert f"read from      downloaded, in {cache}\n" in out
    assert "5 for training" in out
    assert sandbox("data", "toy", "--fetch")[0] == 0
    assert len(asked) == 4


def test_fetch_without_a_network_names_every_way(sandbox, nothing_at_hand):
    code, _, err = sandbox("data", "toy", "--fetch")
    assert code == 2
    assert "sandbox: data set 'toy' is not at hand and could not be downloaded" in err
    assert "ConnectionError: no route to host" in err
    assert "apt install dataset-toy" in err
    assert "SANDBOX_DATA" in err
    assert "Traceback" not in err
    assert nothing_at_hand == URLS[:1]


def test_fetch_wants_a_name(sandbox):
    code, _, err = sandbox("data", "--fetch")
    assert (code, err) == (
        2,
        "sandbox: --fetch: name the data set to download, e.g. sandbox data mnist --fetch\n",
    )


def test_an_unknown_name_is_answered_with_the_nearest(sandbox):
    code, out, err = sandbox("data", "fashion")
    assert (code, out) == (2, "")
    assert err.startswith("sandbox: name = 'fashion': must be one of 'digits', ")
    assert err.endswith("the nearest is 'fashion-mnist'\n")


def test_a_damaged_copy_is_a_message_and_no_traceback(sandbox, debian):
    (debian / toy_data.NAMES[1]).write_bytes(toy_data.PACKED[3])
    code, _, err = sandbox("data", "toy")
    assert code == 2
    assert err.startswith(f"sandbox: {debian / toy_data.NAMES[1]}: contents have SHA-256")
    assert err.count("\n") == 1


def test_the_variable_names_a_folder(sandbox, monkeypatch, tmp_path):
    toy_data.put(tmp_path / "own/toy", packed=False)
    monkeypatch.setenv("SANDBOX_DATA", str(tmp_path / "own"))
    assert f"read from      folder {tmp_path / 'own/toy'}\n" in sandbox("data", "toy")[1]
