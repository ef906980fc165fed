"""Network training and the bench: where theory and experiment meet.

``sandbox.bench`` holds claims, runs, comparisons, the store and the report;
``sandbox.claims`` the claims themselves, one folder per paper;
``sandbox.optim`` the optimisers that take the same rule objects as the theory;
``sandbox.training`` data and training. The command line is ``sandbox``.
"""
