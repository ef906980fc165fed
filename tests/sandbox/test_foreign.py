"""A checkpoint is gone on with by the run that it belongs to and by no other."""

import pytest
from small_training import Diary, bits, network, normalised, pair, tiny
from torch import nn
from torch.optim import SGD, Adam

from sandbox.training.checkpoint import CheckpointError, Checkpoints
from sandbox.training.loop import fit
from sandbox.training.plan import Plan
from sandbox.training.tasks import permuted_tasks
from theory.streams import Streams


def foreign(**changes):
    """Resume the checkpoint in a folder with one thing changed."""
    model = changes.get("model", network)()
    make = changes.get("optimizer", lambda p: SGD(p, 0.1, momentum=0.5))
    before = bits(dict(model.state_dict()))

    def resume(folder):
        try:
            fit(
                model,
                changes.get("stream", pair)(),
                make(model.parameters()),
                changes.get("plan", Plan(epochs=1, batch_size=10)),
                streams=Streams(changes.get("seed", 0)),
                stateful=changes.get("stateful", {"diary": Diary()}),
                penalty=changes.get("penalty"),
                checkpoints=Checkpoints(folder),
                resume=True,
            )
        except CheckpointError:
            assert bits(dict(model.state_dict())) == before
            raise

    return resume


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours")
    foreign()(folder)
    foreign()(folder)  # the same again is welcome
    return folder


class Weighing(nn.Linear):
    """A penalty that has a state."""

    def forward(self, model):
        return self.weight.sum() * 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": Plan(epochs=2, batch_size=10)}, [r"plan\.epochs is 2 here, 1 there"]),
        (
            {"plan": Plan(epochs=1, schedule="linear", batch_size=5), "seed": 7},
            [
                "plan.batch_size is 5 here, 10 there",
                "plan.schedule is 'linear' here, 'constant' there",
                "seed is 7 here, 0 there",
            ],
        ),
        ({"model": lambda: network(outputs=5)}, [r"parameters\[2\] is \['3.weight', \[5, 8\]"]),
        (
            {"model": lambda: network().double()},
            [r"parameters\[0\] is .*float64.* here, .*float32.* there"],
        ),
        ({"model": normalised}, [r"parameters\[5\] is .* here, None there"]),
        (
            {"optimizer": lambda p: Adam(p, 0.1)},
            ["optimizer.type is 'Adam' here, 'SGD' there", r"\['betas'\] is \(0.9, 0.999\) here"],
        ),
        (
            {"optimizer": lambda p: SGD(p, 0.2, momentum=0.5)},
            [r"optimizer.param_groups\[0\]\['lr'\] is 0.2 here, 0.1 there$"],
        ),
        ({"stateful": {}}, [r"stateful\[0\] is None here, 'diary' there"]),
        ({"penalty": Weighing(1, 1)}, [r"stateful\[1\] is 'penalty' here, None there"]),
        ({"stream": lambda: pair("class")}, [r"stream\[0\] is 'split tiny \(class-incremental\)'"]),
        ({"stream": lambda: pair(train=48)}, [r"stream\[2\] is 'a, b #"]),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_run_is_refused_by_its_differences(ours, changes, words):
    with pytest.raises(CheckpointError, match="belongs to another run") as refused:
        foreign(**changes)(ours)
    for part in words:
        refused.match(part)
    assert str(refused.value).count(" there") >= len(words)


def test_another_permutation_is_another_run(tmp_path):
    streams = [permuted_tasks(tiny(), 2, streams=Streams(seed)) for seed in (0, 1)]
    foreign(stream=lambda: streams[0])(tmp_path)
    with pytest.raises(CheckpointError, match=r"stream\[2\] is 'permutation 1 #"):
        foreign(stream=lambda: streams[1])(tmp_path)


def test_a_damaged_checkpoint_is_refused(ours, tmp_path):
    data = bytearray((ours / "state.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "state.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        foreign()(tmp_path)


def test_what_has_no_state_cannot_be_saved(tmp_path):
    model = network()
    optimizer = SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"stateful\['x'\] = 3: must have state_dict"):
        fit(model, tiny(), optimizer, streams=Streams(0), stateful={"x": 3})
    penalty = Weighing(1, 1)
    with pytest.raises(ValueError, match=r"stateful\['penalty'\]: this name is the penalty's"):
        foreign(penalty=penalty, stateful={"penalty": Diary()})(tmp_path)
