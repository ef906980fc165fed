"""The bench: claims, runs, comparisons, the store and the report.

Importing this package imports neither torch, numba, sympy nor matplotlib, so
that listing claims stays quick.
"""

from sandbox.bench.claim import Claim, Paper, Run, lazy
from sandbox.bench.comparison import Axis, Comparison
from sandbox.bench.judgement import Judgement, Verdict, judge

__all__ = ["Axis", "Claim", "Comparison", "Judgement", "Paper", "Run", "Verdict", "judge", "lazy"]
