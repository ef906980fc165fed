"""Natural gradient descent saved, copied, reset, and given foreign states."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch.nn.functional import cross_entropy

from sandbox.optim.natural import NaturalGradient
from tests.sandbox.optim.dense_fisher import multilayer, tiny
from tests.sandbox.optim.natural_problems import batches, go, near, parameters


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("observed", [False, True])
def test_a_saved_state_goes_on_bit_for_bit(steps, observed):
    model = multilayer().float()
    settings = {"momentum": 0.9, "weight_decay": 0.01, "seed": 5}
    optimizer = NaturalGradient(model, 0.05, 0.1, **settings)
    data = [(inputs.float(), targets) for inputs, targets in batches(6)]
    for inputs, targets in data[:steps]:
        go(model, optimizer, inputs, targets)
    if observed:  # saved between the observation and its step
        optimizer.observe(data[5][0])
    saved = pickle.loads(pickle.dumps(optimizer.state_dict()))
    other = copy.deepcopy(model)
    resumed = NaturalGradient(other, 0.3, 0.4, seed=77)
    resumed.load_state_dict(saved)
    for inputs, targets in data[steps:]:
        go(model, optimizer, inputs, targets)
        go(other, resumed, inputs, targets)
    near(other.parameters(), model.parameters(), atol=0)
    assert torch.equal(
        optimizer.state_dict()["factors"]["generator"], resumed.state_dict()["factors"]["generator"]
    )


def test_states_of_others_are_refused():
    optimizer = NaturalGradient(multilayer(), 0.1, 0.1)
    with pytest.raises(ValueError, match="has no 'factors'"):
        optimizer.load_state_dict(torch.optim.SGD(multilayer().parameters(), 0.1).state_dict())
    with pytest.raises(ValueError, match=r"a state of the layers \[\['0', 4, 3\]"):
        optimizer.load_state_dict(NaturalGradient(tiny(), 0.1, 0.1).state_dict())


def test_copies_reset_and_the_end():
    model = multilayer()
    optimizer = NaturalGradient(model, 0.1, 0.2, momentum=0.5)
    start, data = parameters(model), batches(4)
    for inputs, targets in data[:2]:
        go(model, optimizer, inputs, targets)
    twin, copied = copy.deepcopy((model, optimizer))
    alone = copy.deepcopy(model)  # its hook has no owner
    for inputs, targets in data[2:]:
        near(go(twin, copied, inputs, targets), go(model, optimizer, inputs, targets), atol=0)
    before = copied.memory_usage()
    cross_entropy(alone(data[0][0]), data[0][1]).backward()
    assert copied.memory_usage() == before == optimizer.memory_usage()
    pickle.loads(pickle.dumps(model))
    # as new
    with torch.no_grad():
        for p, value in zip(model.parameters(), start, strict=True):
            p.copy_(value)
    optimizer.reset()
    assert optimizer.memory_usage()["total"] == 0
    fresh = multilayer()
    other = NaturalGradient(fresh, 0.1, 0.2, momentum=0.5)
    for inputs, targets in data:
        near(go(model, optimizer, inputs, targets), go(fresh, other, inputs, targets), atol=0)
    # nothing keeps it alive, and its hook goes with it
    gone = weakref.ref(other)
    assert len(fresh._forward_hooks) == 1
    del other
    gc.collect()
    assert gone() is None
    assert not fresh._forward_hooks
