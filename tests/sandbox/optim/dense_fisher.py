"""Small networks with Fisher matrices computed densely, and numbers recorded from such."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

F64 = torch.float64
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
        ],
    ),
]

# a tanh network 3-4-3 without biases and four samples; the numbers below were computed apart,
# densely, with numpy and autograd's per-sample gradients
X = torch.tensor(
    [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.8, 1.2, 0.4], [0.1, -0.6, -1.1]], dtype=F64
)
TRUE, DRAWN = torch.tensor([0, 2, 1, 2]), torch.tensor([1, 2, 0, 0])
W1 = [[0.2, -0.4, 0.6], [-0.5, 0.3, 0.1], [0.7, 0.2, -0.3], [-0.1, -0.6, 0.4]]
W2 = [[0.3, -0.2, 0.5, 0.1], [-0.4, 0.6, 0.2, -0.3], [0.1, 0.4, -0.5, 0.7]]
RECORDED = {
    ("full", "full"): [
        [
            [-0.27629211811559884, 0.10094446158374848, 0.1870137597930951],
            [-0.2831607283876738, -0.21153192757809247, 0.43067409927859934],
            [0.3268389129488166, -0.07692692851700114, -0.07025641636921875],
            [-1.1847446589199042, -0.19138122218010123, 1.1854136062781784],
        ],
        [
            [-0.6243672267035105, -0.4402684027851536, 0.7081853345036961, -0.8099188806812236],
            [0.09373442262922554, -0.6957121959490475, 0.43883034613772587, -0.020527119637138713],
            [0.5306328040742869, 1.1359805987342013, -1.147015680641422, 0.8304460003183634],
        ],
    ],
    ("full", "layer"): [
        [
            [-0.19628658636740348, 0.3626482511045228, 0.10852905877786467],
            [-0.6669420831892737, -0.5781540098978797, 1.0518007089475634],
            [0.6358488214015148, 0.18455928215347311, -0.9717747422939986],
            [-2.0553326590674463, -0.12452790314140527, 1.7539408048414833],
        ],
        [
            [-0.7745113324993236, -0.4777473909597939, 0.8249823036145827, -0.8870476220184349],
            [0.03195664367712142, -1.2124406774563576, 0.867534603226592, -0.014614807704129928],
            [0.742554688822203, 1.6901880684161514, -1.6925169068411758, 0.9016624297225646],
        ],
    ],
    ("sampled", "full"): [
        [
            [0.5243362784187249, 0.9916834803702935, 2.1708523526176764],
            [1.0390079130613945, -2.1526400841368836, 1.5965367663651584],
            [0.22733913983888443, -1.3236358247795603, -5.470386330104013],
            [0.7367478222426431, 3.763477045439787, 3.325451225312129],
        ],
        [
            [-0.4760264751143781, 0.9325884733221709, 0.7451923353832592, -0.4819250413037306],
            [-0.5601287583442245, -1.2099275147098143, -0.19762039889627658, 1.1106533709884268],
            [1.0361552334586053, 0.2773390413876431, -0.5475719364869827, -0.6287283296846953],
        ],
    ],
    ("sampled", "layer"): [
        [
            [0.0634397036593457, 1.462647164179559, 2.116123993442834],
            [1.2795972686915498, -2.800702989683075, 2.302078601016483],
            [0.21026673646472738, -1.0039016283598192, -5.239949961711289],
            [0.03411098857281303, 3.7825462124182225, 3.369889502475293],
        ],
        [
            [-1.555282075039715, 0.3675408910156117, 1.0112296495815065, -0.6645923791117694],
            [-0.5070858736473904, -0.4864967403250984, -0.27229129998311485, 0.7468232422020615],
            [2.062367948687107, 0.11895584930948644, -0.7389383495983912, -0.0822308630902917],
        ],
    ],
}
TRACES = {
    "full": 1.4767072299726949,
    "drawn": 2.1640916285272307,
    "empirical": 2.0968584995370123,
    "norm": 0.7276285763697853,
}
POSTERIOR = [
    1.3726793250771694,
    1.319297763120126,
    1.3365168348273533,
    1.3701655012465799,
    1.2669286828312711,
    1.114294102393164,
    1.3227765281843793,
    1.2602189881251595,
    1.1812139599540206,
    1.182726073983315,
    1.4129010052775093,
    1.3529228956067536,
    1.256282302452179,
    1.2279966810015819,
    1.2616063307796557,
    1.2687152286034653,
    1.1675023861104534,
    1.2920228840717918,
    1.3051078715525302,
    1.2041454833814573,
    1.2743606620590249,
    1.2443491708870247,
    1.1691646925596308,
    1.2349534288277442,
]


def tiny(device="cpu"):
    network = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False))
    network.to(device, F64)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(W1, dtype=F64))
        network[2].weight.copy_(torch.tensor(W2, dtype=F64))
    return network


def normal(*shape, seed=0, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def convolutional():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(3, 4, 2, dilation=2, bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(4 * 1 * 2, 3),
    ).to(F64)


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.each, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.head(torch.tanh(self.each(inputs)).mean(dim=1))


def multilayer():
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)
    ).to(F64)


NETWORKS = {
    "dense": (multilayer, (4,)),
    "conv": (convolutional, (2, 6, 8)),
    "sequence": (lambda: Sequence().to(F64), (5, 3)),
}


def flat(vector, names):
    return torch.cat([vector[name].reshape(-1) for name in names])


def by_name(model, seed=1, dtype=F64):
    return {
        name: normal(*p.shape, seed=seed + i, dtype=dtype).to(p.device)
        for i, (name, p) in enumerate(model.named_parameters())
    }


def scores(model, inputs, names):
    """Per-sample gradients of -log p for every label, (sample, label, parameter)."""
    values = {name: p.detach() for name, p in model.named_parameters()}

    def losses(values, one):
        return -torch.func.functional_call(model, values, one[None])[0].log_softmax(0)

    found = torch.func.vmap(torch.func.jacrev(losses), (None, 0))(values, inputs)
    return torch.cat([found[name].flatten(2) for name in names], dim=2)


def dense(fisher, blocks="full"):
    """F, a column at a time."""
    shapes = {name: fisher._vectors.shapes[name] for name in fisher.names}
    sizes = [math.prod(shape) for shape in shapes.values()]
    made = []
    for column in torch.eye(sum(sizes), dtype=F64):
        parts = column.split(sizes)
        vector = {n: part.view(shapes[n]) for n, part in zip(fisher.names, parts, strict=True)}
        made.append(flat(fisher.multiply(vector, blocks=blocks), fisher.names))
    return torch.stack(made, dim=1)


def reference(model, inputs, names, labels=None):
    """F from per-sample gradients."""
    rows = scores(model, inputs, names)
    if labels is not None:
        rows = rows[torch.arange(len(inputs)), labels]
        return rows.T @ rows / len(inputs)
    chances = model(inputs).detach().softmax(1)
    return torch.einsum("nc,ncp,ncq->pq", chances, rows, rows) / len(inputs)
