"""Learning under protection written out: plain loops over batches and parameters, no hooks."""

import torch
from torch.nn.functional import cross_entropy

from theory.streams import Streams

RATE = 0.1


def batches_of(stream, streams, task, epoch, size, dtype):
    """The batches of an epoch, in the order that the streams give."""
    samples = stream.tasks[task].samples("train")
    inputs = torch.tensor(samples.inputs, dtype=dtype)
    targets = torch.tensor(samples.targets)
    order = torch.from_numpy(streams.generator(f"order/{task}", epoch).permutation(len(samples)))
    rows = [order[k * size : (k + 1) * size] for k in range(len(samples) // size)]
    return [(inputs[row], targets[row]) for row in rows]


def heads(outputs, columns):
    return outputs[:, list(columns)] if columns else outputs


def fisher(model, inputs, columns):
    """Sum over labels of probability times squared gradient, mean over inputs, one by one."""
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for one in inputs:
        logs = heads(model(one[None]), columns).log_softmax(dim=1)[0]
        for label in range(len(logs)):
            slopes = torch.autograd.grad(logs[label], parameters, retain_graph=True)
            chance = logs[label].exp().item()
            for entry, slope in zip(total, slopes, strict=True):
                entry += chance * slope**2 / len(inputs)
    return total


def learned(model, stream, method, strength, root, *, epochs, size, xi, samples=None, fresh=None):
    """Train by gradient descent under a method; return the total importance at the end."""
    streams = Streams(root)
    second = Streams(streams.integer("independent"))
    parameters = list(model.parameters())
    dtype = parameters[0].dtype
    omega = [torch.zeros_like(p) for p in parameters]
    anchor = [p.detach().clone() for p in parameters]
    for task in range(len(stream.tasks)):
        columns = stream.tasks[task].outputs
        if fresh is not None and task:
            drawn = list(fresh(task).parameters())
            with torch.no_grad():
                for p, new in zip(parameters, drawn, strict=True):
                    p.copy_(new)
        start = [p.detach().clone() for p in parameters]
        path = [torch.zeros_like(p) for p in parameters]
        moment = [torch.zeros_like(p) for p in parameters]
        for epoch in range(epochs):
            mine = batches_of(stream, streams, task, epoch, size, dtype)
            others = batches_of(stream, second, task, epoch, size, dtype)
            for (x, y), (x2, y2) in zip(mine, others, strict=True):
                g = torch.autograd.grad(
                    cross_entropy(heads(model(x), columns), y), parameters, allow_unused=True
                )
                g2 = torch.autograd.grad(
                    cross_entropy(heads(model(x2), columns), y2), parameters, allow_unused=True
                )
                with torch.no_grad():
                    for i, p in enumerate(parameters):
                        before = p.clone()
                        p -= RATE * (g[i] + 2 * strength * omega[i] * (p - anchor[i]))
                        measured = {"si": g[i], "siu": g2[i], "sib": g[i] - g2[i]}.get(method)
                        if measured is not None:
                            path[i] -= measured * (p - before)
                        noise = g[i] - g2[i] if method == "sos-large-batch" else g[i]
                        moment[i] = 0.999 * moment[i] + 0.001 * noise**2
        if method == "ewc":
            inputs = torch.tensor(stream.tasks[task].samples("train").inputs, dtype=dtype)
            if samples is not None:
                chosen = streams.generator("importance", task).permutation(len(inputs))[:samples]
                inputs = inputs[sorted(chosen)]
            found = fisher(model, inputs, columns)
        elif method in {"sos", "sos-large-batch"}:
            found = [v.sqrt() for v in moment]
        else:
            found = [
                w.clamp(min=0) / ((p.detach() - s) ** 2 + xi)
                for w, p, s in zip(path, parameters, start, strict=True)
            ]
        omega = [total + new for total, new in zip(omega, found, strict=True)]
        anchor = [p.detach().clone() for p in parameters]
    return omega
