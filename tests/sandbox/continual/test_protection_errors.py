"""What a protection refuses."""

import pytest
import torch
from small_training import pair, tiny
from torch import nn
from torch.optim import SGD

from sandbox.continual import Protection, learn
from sandbox.training.plan import Plan
from sandbox.training.tasks import split_tasks
from tests.sandbox.continual.protecting import PLAN, model_of, protected, three
from theory.streams import Streams

BAD = {
    "method": ({"method": "eww"}, "nearest is 'ewc'"),
    "strength": ({"strength": -1.0}, "strength = -1.0: must be a finite number in"),
    "none": ({"method": "none", "strength": 1.0}, "'none' has no penalty"),
    "norm": ({"method": "ratio-norm"}, "'ratio-norm' has no published one"),
    "samples": ({"samples": 0}, "samples = 0"),
    "xi": ({"method": "si", "xi": 0.0}, "xi = 0.0"),
    "clamp": ({"clamp": "never"}, "clamp = 'never'"),
    "ceiling": ({"ceiling": -1.0}, "ceiling = -1.0"),
    "re_init": ({"re_init": True}, "re_init = True: must be a function of the task"),
    "decay": ({"decay": 0.5}, "decay"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", BAD)
def test_bad_settings(case):
    told, words = BAD[case]
    told = {"method": "ewc"} | told
    model = model_of()
    with pytest.raises(ValueError, match=words):
        Protection(model, SGD(model.parameters(), 0.1), streams=Streams(0), **told)


@pytest.mark.bad_input
def test_misfits_are_refused():
    model, other = model_of(), model_of()
    optimizer, stranger = SGD(model.parameters(), 0.1), SGD(other.parameters(), 0.1)
    protection = Protection(model, optimizer, "ewc", streams=Streams(0))
    with pytest.raises(ValueError, match="another optimiser"):
        learn(model, pair(), stranger, PLAN, protection, streams=Streams(0))
    with pytest.raises(ValueError, match="another model"):
        learn(nn.Sequential(model), pair(), optimizer, PLAN, protection, streams=Streams(0))


@pytest.mark.bad_input
@pytest.mark.parametrize("method", ["ewc", "si", "sos", "mas"])
def test_tasks_of_one_class_are_refused(method):
    for scenario in ("task", "class", "domain"):
        stream = split_tasks(tiny(), per_task=1, scenario=scenario)
        model = model_of(outputs=stream.outputs)
        with pytest.raises(ValueError, match="task 'a' has one class"):
            protected(model, stream, method)


@pytest.mark.bad_input
def test_what_cannot_be_drawn_anew_is_refused():
    with pytest.raises(ValueError, match="no parameter '0.weight' of shape"):
        protected(model_of(), three(), "ewc", 1.0, re_init=lambda task: nn.Linear(2, 2))
    model = nn.Sequential(model_of(), nn.Linear(4, 4, dtype=torch.float64), nn.Tanh())
    wide = nn.Sequential(*model_of()[:3], nn.Linear(8, 5, dtype=torch.float64))
    protected(model, pair(), "ewc", 1.0, re_init=lambda task: model)
    with pytest.raises(ValueError, match="finds no linear layer with the stream's 4 outputs"):
        protected(wide, pair(), "ewc", 1.0, re_init=lambda task: wide)


@pytest.mark.bad_input
@pytest.mark.parametrize("method", ["mas", "absolute-fisher", "root-fisher"])
def test_probabilities_need_the_cross_entropy(method):
    plan = Plan(1, 8, loss="squared")
    with pytest.raises(ValueError, match="loss = 'squared'"):
        protected(model_of(outputs=2), pair("domain"), method, plan=plan)


@pytest.mark.bad_input
@pytest.mark.parametrize("method", ["siu", "sib", "sos-large-batch"])
def test_all_samples_at_once_leave_no_independent_batch(method):
    with pytest.raises(ValueError, match="batch_size = None: every step takes all samples"):
        protected(model_of(), three(), method, plan=Plan(1, None))
