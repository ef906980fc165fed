"""Energy of a network by layer and synapse, and what it buys."""

from __future__ import annotations

from dataclasses import dataclass

from numpy import ndarray

from theory.checks import as_number

__all__ = ["Energy", "bits_per_energy"]


@dataclass(frozen=True, slots=True, eq=False)
class Energy:
    """Energy of a network, by layer and by synapse.

    Parameters
    ----------
    kind : {"strength", "releases", "reliability", "atp"}
        The model it comes from.
    unit : str
        Of all the numbers.
    total : float
        The sum over the layers.
    per_layer : dict of str to float
        Its synapses, and the spikes of the units that feed it.
    per_synapse : dict of str to ndarray
        Without the spikes.
    axes : dict of str to tuple of str
        Names of the axes of ``per_synapse``.
    """

    kind: str
    unit: str
    total: float
    per_layer: dict[str, float]
    per_synapse: dict[str, ndarray]
    axes: dict[str, tuple[str, ...]]

    def per_correct_decision(self, correct: float) -> float:
        """Return the energy of a decision that is right.

        Parameters
        ----------
        correct : float
            Right decisions for which ``total`` was spent, > 0: the accuracy where it is
            the energy of one presentation, the number of right decisions in a run.

        Returns
        -------
        float
            In ``unit``.
        """
        return self.total / as_number("correct", correct, low=0.0, open_low=True)


def bits_per_energy(bits: float, energy: Energy | float) -> float:
    r"""Return the information bought with a unit of energy.

    **Equation.** :math:`I / E`.

    **Shapes and units.** Bits for the unit of the energy.

    Parameters
    ----------
    bits : float
        I, >= 0, e.g. from :func:`theory.task_information.task_information`.
    energy : Energy or float
        E, > 0.

    Returns
    -------
    float
        The ratio.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Schug, Benzing & Steger (2021), eLife 10:e69884: energy efficiency.

    Examples
    --------
    >>> bits_per_energy(2.5, 1000.0)
    0.0025
    """
    total = energy.total if isinstance(energy, Energy) else energy
    spent = as_number("energy", total, low=0.0, open_low=True)
    return as_number("bits", bits, low=0.0) / spent
