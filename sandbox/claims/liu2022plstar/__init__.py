"""Liu, Zhu & Belkin (2022): why over-parameterised systems are solved by gradient descent."""

READING_ORDER = (
    "kernel",
    "composition",
    "rates",
    "epsilon",
    "stochastic",
    "curvature",
    "chains",
    "certificates",
    "outside",
)
