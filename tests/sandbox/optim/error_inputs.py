"""What the optimisers of the database refuse: overrides, and a pattern of the message."""

from __future__ import annotations

NAN = float("nan")

CURVATURE_ERRORS = (
    ({"rule": 0.5}, r"rule = 0\.5"),
    ({"lr": 0.0}, r"lr = 0\.0"),
    ({"lr": NAN}, r"lr = nan"),
    ({"loss": "hinge"}, r"loss = 'hinge'"),
)
SHARED_ERRORS = (
    ({"lr": -1.0}, r"lr = -1\.0"),
    ({"lr": NAN}, r"lr = nan"),
    ({"damping": 0.0}, r"damping = 0\.0"),
    ({"damping": NAN}, r"damping = nan"),
    ({"momentum": 1.0}, r"momentum = 1\.0"),
    ({"weight_decay": -0.1}, r"weight_decay = -0\.1"),
    ({"bias": "none"}, r"bias = 'none'"),
    ({"nonfinite": "ignore"}, r"nonfinite = 'ignore'"),
    ({"maximize": 1}, r"maximize = 1"),
    ({"model": None}, r"model = None"),
    ({"skip": ("head",)}, r"skip = .*'head'"),
    ({"bias": "fallback", "fallback": None}, r"no factor rule for 0\.bias, 2\.bias"),
    ({"bias": "fallback", "fallback": {"momentum": 0.9}}, r"fallback = "),
    ({"bias": "fallback", "fallback": {"lr": 0.1, "nesterov": True}}, r"nesterov"),
)
LAYERWISE_ERRORS = (
    *SHARED_ERRORS,
    ({"T": 2, "S": 3}, r"S = 3"),
    ({"T": 0}, r"T = 0"),
    ({"S": 0}, r"S = 0"),
    ({"T": 2.5}, r"T = 2\.5"),
    ({"decay": 1.0}, r"decay = 1\.0"),
    ({"power": 0.0}, r"power = 0\.0"),
    ({"side": "both"}, r"side = 'both'"),
    ({"scaling": "sum"}, r"scaling = 'sum'"),
    ({"sharing": "none"}, r"sharing = 'none'"),
    ({"factor_samples": 0}, r"factor_samples = 0"),
)
LABEL_ERRORS = (
    ({"likelihood": "poisson"}, r"likelihood = 'poisson'"),
    ({"seed": -1}, r"seed = -1"),
)
KFAC_ERRORS = (
    *LAYERWISE_ERRORS,
    *LABEL_ERRORS,
    ({"rule": "exact"}, r"rule = 'exact'"),
    ({"fisher": "full"}, r"fisher = 'full'"),
    ({"output_factor": 1}, r"output_factor = 1"),
    ({"rule": "standard", "output_factor": False}, r"output_factor = False"),
)
NATURAL_ERRORS = (
    *SHARED_ERRORS,
    *LABEL_ERRORS,
    ({"fisher": "exact"}, r"fisher = 'exact'"),
    ({"blocks": "layers"}, r"blocks = 'layers'"),
    ({"fisher_samples": 0}, r"fisher_samples = 0"),
)
ALICE_ERRORS = (
    ({"lr": 0.0}, r"lr = 0\.0"),
    ({"lr": NAN}, r"lr = nan"),
    ({"betas": 0.9}, r"betas = 0\.9"),
    ({"betas": (1.0, 0.9)}, r"betas\[0\] = 1\.0"),
    ({"lr_min": -1.0}, r"lr_min = -1\.0"),
    ({"lr_min": 9.0}, r"lr_min = 9"),
    ({"lr_max": NAN}, r"lr_max = nan"),
    ({"quick_steps": -1}, r"quick_steps = -1"),
    ({"quick_steps": 1.5}, r"quick_steps = 1\.5"),
    ({"quick_steps": 50}, r"quick_steps = 50"),
    ({"hessian": "full"}, r"hessian = 'full'"),
    ({"bounds": "none"}, r"bounds = 'none'"),
    ({"glass": 1}, r"glass = 1"),
    ({"hessian": "off", "glass": False}, r"hessian = 'off'"),
    ({"omega": 0.0}, r"omega = 0\.0"),
    ({"phi": 0.0}, r"phi = 0\.0"),
    ({"weight_decay": 0.1}, r"weight_decay = 0\.1"),
    ({"weight_decay": (0.0, -1.0)}, r"weight_decay\[1\] = -1\.0"),
    ({"eps": 0.0}, r"eps = 0\.0"),
    ({"burn_in": 0}, r"burn_in = 0"),
    ({"sigma": 0.0}, r"sigma = 0\.0"),
    ({"nonfinite": "ignore"}, r"nonfinite = 'ignore'"),
    ({"seed": -1}, r"seed = -1"),
)
