"""Find step sizes and dampings of all arms by one rule; print them for the table on record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from sandbox.claims.benzing2022neurons._experiments import decades, train
from sandbox.claims.benzing2022neurons._presets import ARMS, SETTINGS, TUNED, Arm, Setting

__all__ = ["PROBES", "TRIES", "tuned"]

PROBES = (1001, 1002, 1003, 1004, 1005)
"""Seeds of networks and batches; a setting counts for as much as the worst of them."""
TRIES = 36
"""Settings that every arm with a damping is given; one without is given a third of them."""
COARSE = [(i, j) for i in (-2, 0, 2) for j in (-1, 0, 1, 2)]
"""From step size 0.1 and damping 0.01, in half decades of the one and decades of the other."""
AROUND = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1), (2, 1), (-2, -1)]
"""Neighbours; the last two because where the damping rules, the step size grows as it does."""


def tuned(
    setting: Setting,
    arm: Arm,
    *,
    seeds: Sequence[int] = PROBES,
    tries: int = TRIES,
    trained: Callable[[dict[str, Any]], dict[str, Any]] = train,
) -> tuple[Arm, float, bool]:
    """Return the arm at its best, its decades there, and whether all neighbours were tried."""
    # the same coarse grid for all, then the untried neighbours of the best, of the second best
    # when the best has none left, and so on: edges are extended for as long as they pay
    damped = arm.kind not in {"sgd", "adam"}
    coarse, around = (p if damped else [q for q in p if q[1] == 0] for p in (COARSE, AROUND))
    tries = tries if damped else tries // 3
    scores: dict[tuple[int, int], float] = {}

    def at(place: tuple[int, int]) -> Arm:
        return arm.at(10.0 ** (place[0] / 2 - 1), 10.0 ** (place[1] - 2) if damped else None)

    def neighbours(place: tuple[int, int]) -> list[tuple[int, int]]:
        return [(place[0] + i, place[1] + j) for i, j in around]

    def attempt(places: list[tuple[int, int]]) -> None:
        for place in places[: tries - len(scores)]:
            worst = -math.inf
            for seed in seeds:
                item = {"setting": setting, "arm": at(place), "seed": seed, "device": "cpu"}
                worst = max(worst, float(decades([trained(item)["loss"]])[0]))
                # the worst only grows: this setting cannot become the best any more
                if scores and worst > min(scores.values()):
                    break
            scores[place] = worst

    attempt(coarse)
    while len(scores) < tries:
        fresh: list[tuple[int, int]] = []
        for place in sorted(scores, key=scores.__getitem__):
            fresh = [near for near in neighbours(place) if near not in scores]
            if fresh:
                break
        attempt(fresh)
    best = min(scores, key=scores.__getitem__)
    return at(best), scores[best], all(near in scores for near in neighbours(best))


if __name__ == "__main__":
    for (scale, mode), arms in TUNED.items():
        if scale == "quick":
            for name in arms:
                found, loss, enclosed = tuned(SETTINGS[scale, mode], ARMS[name])
                print(
                    f"{mode}, {name}: {found.label}, 10^{loss:.2f}, enclosed: {enclosed}",
                    flush=True,
                )
