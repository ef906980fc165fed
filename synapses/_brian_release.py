"""brian2 synapses that release at random, each time anew."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from numpy import ndarray

from synapses._brian_build import Connect, assemble
from synapses._brian_draws import draws, quantum
from synapses._brian_events import EventRecorder
from synapses._brian_units import (
    Group,
    Quantity,
    as_quantity,
    check_groups,
    no_unit,
    unit_name,
    writable,
)
from synapses.release import ReleaseModel
from theory.checks import shown


def stochastic_synapses(
    source: Group,
    target: Group,
    model: ReleaseModel,
    *,
    amplitude: Quantity,
    on: str = "v",
    connect: Connect = None,
    record: bool = False,
    uniforms: Float[ndarray, "time synapse"] | None = None,
    name: str = "stochastic_synapses*",
) -> Any:
    r"""Build synapses that release at random, each time anew.

    **Equation.** At a presynaptic spike each of the N sites of a pair draws :math:`r \sim
    \mathrm{Bernoulli}(p)` on its own and adds :math:`r m Q` to the target's variable, with
    quanta Q of mean 1 (:class:`synapses.ReleaseModel`). Sites are brian2 synapses: N of them
    join a pair, so that each has its own number, state and delay.

    **Shapes and units.** Variables, one a site: ``p_syn`` (share), ``m_syn`` (unit of ``on``;
    amplitude times the mean size of a quantum), both free to be set afterwards; counters
    ``n_rel`` (releases; 32 bits) and ``energy_syn`` (sum of :math:`r|mQ|`, unit of ``on``).

    Parameters
    ----------
    source : SpikeSource
        Group that spikes.
    target : Group
        Group that receives.
    model : ReleaseModel
        Sites, release probability, size and variability of quanta.
    amplitude : Quantity
        What a quantum of size 1 adds, in the unit of ``on``; negative for inhibition.
    on : str
        Variable of the target that a release adds to.
    connect : dict, str or None
        Arguments of ``Synapses.connect`` but ``n``; a condition; None for all pairs. Names in
        its strings are looked up in its own ``namespace`` alone.
    record : bool
        Whether ``recorder`` keeps (t, r, p, m, synapse) of each event, m with its quantum.
    uniforms : ndarray or None
        Numbers in [0, 1) to use instead of random ones, a row for each time step and a column
        for each synapse, in the order of their numbers; a site releases where its number is
        below p. The run may not be longer.
    name : str
        Name of the synapses.

    Returns
    -------
    brian2.Synapses
        Connected; to be put in a network.

    Raises
    ------
    ValueError
        If a unit, a name or a shape does not fit, or ``uniforms`` comes with variable quanta.

    Notes
    -----
    A draw is local to its synapse, so brian2's warning about the order of execution is not
    given. The targets numpy, cython and cpp_standalone share no random stream that could be
    relied on; to compare them number by number use ``uniforms``.

    References
    ----------
    del Castillo & Katz (1954), doi:10.1113/jphysiol.1954.sp005129.

    Examples
    --------
    A synapse of five sites onto ``neurons``, which have a membrane potential v::

        five = ReleaseModel(sites=5, release_probability=0.3)
        S = stochastic_synapses(spikes, neurons, five, amplitude=0.5 * mV, record=True)
        Network(spikes, neurons, S).run(1 * second)
        S.n_rel[:].sum(), S.recorder["r"].mean()
    """
    check_groups(source, target)
    if not isinstance(model, ReleaseModel):
        raise ValueError(f"model = {shown(model)}: must be a ReleaseModel")
    dimensions = writable("on", on, target, "target").dim
    size = as_quantity("amplitude", amplitude, dimensions, f"as {on} of the target is")
    if uniforms is not None and model.quantal_cv:
        raise ValueError(
            f"uniforms: must be None for model.quantal_cv = {model.quantal_cv}, as the sizes of"
            " quanta are random besides; set quantal_cv = 0"
        )
    draw, names, numbers = draws(uniforms, source.clock)
    amount = "m_syn"
    if model.quantal_cv:
        amount = "m_syn*quantum_syn(shape_syn)"
        names |= {"quantum_syn": quantum(), "shape_syn": model.quantal_cv**-2}
    recorder = EventRecorder({"r": no_unit(), "p": no_unit(), "m": dimensions}, ("r",))
    unit = unit_name(dimensions)
    return assemble(
        source,
        target,
        name=name,
        equations=f"""
        p_syn : 1
        m_syn : {unit}
        n_rel : integer
        energy_syn : {unit}
        """,
        on_pre=f"""
        chance_syn = {draw}
        released_syn = int(chance_syn < p_syn)
        amount_syn = {amount}
        {on}_post += released_syn*amount_syn
        n_rel += released_syn
        energy_syn += released_syn*abs(amount_syn)
        """
        + ("kept_syn = keep_syn(t, released_syn, p_syn, amount_syn)" if record else ""),
        namespace=names,
        start={"p_syn": model.release_probability, "m_syn": size * model.quantal_size},
        connect=connect,
        sites=model.sites,
        uniforms=numbers,
        recorder=recorder if record else None,
    )
