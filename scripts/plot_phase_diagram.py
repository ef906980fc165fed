r"""
Where does noisy descent get stuck?
===================================

A bowl with a cosine on it has, in its own units, two numbers: the ruggedness
:math:`\rho`, which stands for load, and the temperature :math:`t` of the noise. With the
training time :math:`a\tau` they decide what the descent sees
(:func:`theory.phase_diagram.phase`):

* *convex* or *unimodal*: its thermal width :math:`\sqrt t` leaves
  :math:`\rho e^{-t/2}` of the roughness, too little for a second minimum;
* *ergodic*: there are wells, but time enough to leave them,
  :math:`I_0(\rho/t)^2 \le a\tau`;
* *frozen*: it stays in the well it is in.

Model and reading are this project's own, made to think about the phases of Yang et al.
(2021); no formula here is from that paper.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from sandbox.bench.figures import house_style
from theory.langevin import langevin
from theory.phase_diagram import phase, trapping_boundary
from theory.rugged import RuggedBowl
from theory.streams import Streams

REGIONS = ("convex", "unimodal", "ergodic", "frozen")
COLOURS = ListedColormap(["#dceaf6", "#a9cde8", "#f6e3b4", "#d9d9d9"])

rho = np.geomspace(0.5, 60, 100)
t = np.geomspace(0.5, 20, 80)
times = (20.0, 1e8)
maps = [
    np.array([[REGIONS.index(phase(r, s, time).region) for s in t] for r in rho]) for time in times
]

# %%
# Simulated walkers
# -----------------
#
# At each point 32 walkers start in the well beside the central one (or, where there is
# none, as far out) and are run for :math:`a\tau = 20`. The marker's filling is what is
# left of their mean position: white where they have forgotten it, black where they
# remember.

places = [(r, s) for r in (1.5, 4.0, 7.0, 11.0, 17.0, 28.0) for s in (0.8, 1.8, 4.0, 9.0)]
streams = Streams(0)
memory = []
for number, (r, s) in enumerate(places):
    bowl = RuggedBowl(curvature=1.0, roughness=r, wavenumber=1.0)
    start = next((u for u in bowl.minima() if u > 1), 2 * np.pi)
    steps = int(np.ceil(times[0] * (1 + r) / 0.05))
    key = streams.key("walkers", number)
    walk = langevin(bowl, s, np.full(32, start), times[0] / steps, steps, key)
    memory.append(walk.position[:, -1].mean() / start)

# %%
# The map for two training times
# ------------------------------
#
# The boundary of the frozen region is a straight line through the origin (here, with two
# logarithmic axes, of slope one) down to the ruggedness 4.6 below which there are no
# wells. Somewhat above the line walkers still thaw: it is a law for thermal widths of many
# periods, and a rule of thumb here. An ergodic region exists only for trainings longer
# than 7000 relaxation times of the bowl: shorter ones freeze where the thermal width
# would leave wells.

with house_style():
    figure, panels = plt.subplots(1, 2, figsize=(8.6, 4.1), sharey=True)
    for panel, regions, time in zip(panels, maps, times, strict=True):
        panel.pcolormesh(t, rho, regions, cmap=COLOURS, vmin=-0.5, vmax=3.5, rasterized=True)
        edge = trapping_boundary(time, t)
        panel.plot(t, edge, color="k", ls="-", lw=1.4)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlim(t[0], t[-1])
        panel.set_ylim(rho[0], rho[-1])
        panel.grid(visible=False)
        panel.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
        panel.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
        panel.minorticks_off()
        panel.set_xlabel("temperature t (a/k²)")
        panel.set_ylabel("ruggedness ρ (a/k²)")
        panel.set_title("training time aτ = " + (f"{time:g}" if time < 100 else "10⁸"))
    x, y = np.array(places).T[::-1]
    panels[0].scatter(
        x, y, c=np.clip(memory, 0, 1), cmap="gray_r", vmin=0, vmax=1, s=34, ec="k", lw=0.8, zorder=3
    )
    words = {"frozen": (0.6, 43), "unimodal": (0.6, 2.7), "convex": (6, 0.8)}
    for panel in panels:
        for word, (left, height) in words.items():
            panel.text(left, height, word, fontsize=9, style="italic")
    panels[1].text(1.1, 8.8, "ergodic", fontsize=9, style="italic", rotation=38)
    plt.show()

frozen = [phase(r, s, times[0]).region == "frozen" for r, s in places]
agree = np.mean(np.array(frozen) == (np.array(memory) > np.exp(-1)))
print(f"points on the side that the diagram says: {agree:.0%} of {len(places)}")

# %%
# Hot and cold
# ------------
#
# Apart from the region, a descent is hot where its noise keeps up more loss than is
# tolerated. Together they give four readings, named after the phases they resemble: I
# (frozen, hot), II (connected, hot), III (frozen, cold), IV (connected, cold).

for r, s in ((12.0, 3.0), (2.0, 3.0), (12.0, 0.5), (2.0, 0.5)):
    regime = phase(r, s, 20.0)
    print(
        f"ρ = {r:4g}, t = {s:3g}: {regime.region:8} {'hot' if regime.hot else 'cold':4}"
        f" like phase {regime.analogue}"
    )
