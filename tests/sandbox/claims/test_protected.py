"""Protected streams of tasks as claims run them: same start, fair pairs, gains with intervals."""

import numpy as np
import pytest
import torch

from sandbox.bench import judge
from sandbox.claims._protected import Arm, Setting, accuracies, gains, learned, run_arm

TINY = Setting(number=2, widths=(12,), epochs=1)


@pytest.mark.parametrize("arm", [Arm("si", 1.0), Arm("mas-logit", 0.01)])
def test_protection_begins_with_the_second_task(arm):
    plain, protected = run_arm(TINY, Arm(), 3), run_arm(TINY, arm, 3)
    assert plain.shape == (3, 2)
    assert np.array_equal(plain[:2], protected[:2])
    assert not np.array_equal(plain[2], protected[2])


def test_a_run_repeats_itself_and_another_seed_is_another_run():
    item = (TINY, Arm("si", 1.0), 3, "cpu")
    first = learned(item)["accuracy"]
    assert np.array_equal(first, learned(item)["accuracy"])
    assert not np.array_equal(first, learned((TINY, Arm("si", 1.0), 4, "cpu"))["accuracy"])


def test_split_tasks_have_a_head_each():
    found = run_arm(TINY._replace(tasks="split"), Arm(), 0)
    assert found.shape == (6, 5)
    # of two outputs one is right by chance: no task is below what ten outputs would give
    assert found[1:].diagonal().min() > 0.4


def test_what_a_tasks_end_shows():
    seen = []

    def note(protection, now):
        signed = protection.path.importance(clamp=False)
        kept = protection.importance
        seen.append((now.task, float(signed["0.weight"].clamp(min=0).sum()), kept["0.weight"]))

    run_arm(TINY, Arm("si", 1.0), 0, task_end=note)
    assert [task for task, *_ in seen] == [0, 1]
    # tensors of the penalty are replaced, not written: the first task's own is still there
    assert float(seen[0][2].sum()) == pytest.approx(seen[0][1], rel=1e-5)
    assert float(seen[1][2].sum()) == pytest.approx(seen[0][1] + seen[1][1], rel=1e-5)


def test_arms_of_a_claim_share_their_seeds(run):
    arms = {"none": Arm(), "again": Arm(), "si": Arm("si", 1.0)}
    found = accuracies(run, TINY, arms, 2, "tasks")
    assert list(found) == list(arms)
    assert found["si"].shape == (2, 2)
    assert np.array_equal(found["none"], found["again"])
    assert not np.array_equal(found["none"][0], found["none"][1])


def test_gains_are_judged_by_their_intervals():
    worse = np.array([[0.5, 0.9], [0.4, 0.8], [0.6, 0.9]])
    better = worse + np.array([[0.3, 0.0], [0.25, 0.0], [0.35, 0.01]])
    found = gains("x", better, worse)
    assert judge(found).verdict == "holds"
    np.testing.assert_allclose(found.measured, [0.3, 0.455 / 3], atol=1e-12)
    # Student's quantile of two degrees of freedom, deviation 0.05
    assert found.uncertainty[0] == pytest.approx(4.302653 * 0.05 / np.sqrt(3), rel=1e-6)
    assert found.axes[0].values[0] == "first task, 0.50 to 0.80"
    assert judge(gains("x", worse, better)).verdict == "fails"
    assert judge(gains("x", worse[::-1], worse)).verdict == "inconclusive"
    assert gains("x", better, worse, average=False).measured.shape == (1,)


@pytest.mark.bad_input
def test_arms_that_learn_alike_are_no_gain():
    alike = np.array([[0.5, 0.9], [0.4, 0.8]])
    with pytest.raises(ValueError, match="x: both arms come to the same accuracies"):
        gains("x", alike, alike.copy())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_learns_much_the_same():
    found = run_arm(TINY, Arm("si", 1.0), 3, device="cuda")
    # one test image in 359 may fall to the other side
    np.testing.assert_allclose(found, run_arm(TINY, Arm("si", 1.0), 3), atol=0.02)
