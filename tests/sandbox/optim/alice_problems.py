"""Small losses and given signs for the tests of Alice's step."""

import torch
from torch import nn

from sandbox.optim._alice_update import checked, fresh_state
from sandbox.optim.alice import Alice


def parameter(values, dtype=torch.float64, device="cpu"):
    return nn.Parameter(torch.tensor(values, dtype=dtype, device=device))


def minimising(optimizer, function):
    def closure():
        optimizer.zero_grad()
        loss = function()
        loss.backward()
        return loss

    return closure


def kinked(w):
    one, two = w[0] + 0.5 * w[1] - 0.3, -w[0] + w[1] + 0.1
    bowl = 0.75 * w[0] ** 2 + 0.25 * w[1] ** 2 + 0.4 * w[0] * w[1]
    return bowl + 0.7 * one.relu() + 0.4 * two.relu()


def options(**changed):
    return checked(Alice([parameter([0.0])]).defaults | changed)


def state_of(**values):
    state = fresh_state(torch.zeros(len(next(iter(values.values()))), dtype=torch.float64))
    return state | {k: torch.tensor(v, dtype=torch.float64) for k, v in values.items()}
