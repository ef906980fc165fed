"""brian2 synapses whose release probability and quantal amplitude learn from spike times."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from synapses._brian_build import Connect, assemble
from synapses._brian_events import EventRecorder
from synapses._brian_units import (
    Group,
    Quantity,
    as_quantity,
    as_share,
    brian,
    check_groups,
    no_unit,
    unit_name,
    writable,
)
from theory.checks import as_number, shown


@dataclass(frozen=True, slots=True)
class Costa2015:
    """Constants of plasticity on both sides of the synapse, as fitted to visual cortex.

    **Shapes and units.** Seconds; rates of learning in shares a spike.

    Parameters
    ----------
    recovery_s, facilitation_s : float
        Time constants D and F of short-term plasticity, > 0.
    x_plus_s, y_plus_s, y_minus_s : float
        Time constants of the presynaptic trace and of the two postsynaptic ones, > 0.
    d_minus, d_plus : float
        Depression and potentiation of the release probability, >= 0.
    c_plus : float
        Potentiation of the quantal amplitude, >= 0.
    largest_amplitude : float
        Bound of the quantal amplitude, > 0.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Costa, Froemke, Sjöström & van Rossum (2015), eLife 4:e09457, Table 1.

    Examples
    --------
    >>> Costa2015().d_minus
    0.1771
    """

    recovery_s: float = 0.2
    facilitation_s: float = 0.05
    x_plus_s: float = 0.0666
    y_plus_s: float = 0.2302
    y_minus_s: float = 0.0327
    d_minus: float = 0.1771
    d_plus: float = 0.1548
    c_plus: float = 0.0618
    largest_amplitude: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            above = field.name.endswith("_s") or field.name == "largest_amplitude"
            value = as_number(field.name, getattr(self, field.name), low=0.0, open_low=above)
            object.__setattr__(self, field.name, value)


def costa2015(
    source: Group,
    target: Group,
    *,
    amplitude: Quantity,
    gain: float = 1.0,
    release_probability: float = 0.5,
    quantal_amplitude: float = 1.0,
    constants: Costa2015 | None = None,
    on: str = "v",
    connect: Connect = None,
    record: bool = False,
    name: str = "costa2015*",
) -> Any:
    r"""Build synapses with pre- and postsynaptic long-term plasticity and short-term plasticity.

    **Equation.** A presynaptic spike transmits :math:`m\,q\,p\,r`; short-term plasticity is

    .. math::

        \dot r = (1 - r)/D, \quad r \leftarrow r - pr, \qquad
        \dot p = (P - p)/F, \quad p \leftarrow p + P(1 - p),

    with what is right of the arrows as it was before the spike. Traces :math:`x_+` (of
    presynaptic spikes), :math:`y_+`, :math:`y_-` (of postsynaptic ones) decay and grow by 1 a
    spike. With the gain g, and traces as they were before the spike,

    .. math::

        \text{pre: } P \leftarrow P + g\,(d_+ x_+ y_+ - d_- y_- y_+), \qquad
        \text{post: } q \leftarrow q + g\,c_+ x_+ y_- ,

    P kept in [0, 1] and q in [0, 2]. Of a pre- and a postsynaptic spike in one time step the
    presynaptic one comes first.

    **Shapes and units.** Variables, one a synapse: ``P_syn``, ``q_syn``, ``p_syn``, ``r_syn``,
    ``x_plus_syn``, ``y_plus_syn``, ``y_minus_syn`` (numbers), ``m_syn`` (unit of ``on``).

    Parameters
    ----------
    source : SpikeSource
        Group that spikes.
    target : SpikeSource
        Group that receives, and whose spikes are the postsynaptic ones.
    amplitude : Quantity
        m, in the unit of ``on``.
    gain : float
        g, >= 0. 1 is the rule as printed, of which a single pair at 10 ms, post before pre,
        takes 0.125 of P; the released program multiplies both updates by 0.15.
    release_probability : float
        P at the start, in [0, 1].
    quantal_amplitude : float
        q at the start, in [0, 2].
    constants : Costa2015 or None
        Time constants and rates; None for the published ones.
    on : str
        Variable of the target that transmission adds to.
    connect : dict, str or None
        As for :func:`stochastic_synapses`; ``n`` is allowed.
    record : bool
        Whether ``recorder`` keeps (t, P, q, p, r, m, synapse) of each presynaptic spike, as
        they were when it came.
    name : str
        Name of the synapses.

    Returns
    -------
    brian2.Synapses
        Connected, at rest. Its pathway ``post`` must keep the delay 0 of the rule.

    Raises
    ------
    ValueError
        If a unit, a number or a name does not fit.

    Notes
    -----
    Transmission is the mean, without failures. The article's homeostasis, a subtraction of the
    mean change of q over a neuron's synapses, is left out.

    References
    ----------
    Costa, Froemke, Sjöström & van Rossum (2015), eLife 4:e09457, Eqs. 3-8; program: ModelDB
    184487.

    Examples
    --------
    As in the released program::

        S = costa2015(spikes, neurons, amplitude=1 * mV, gain=0.15)
    """
    check_groups(source, target, target_spikes=True)
    dimensions = writable("on", on, target, "target").dim
    size = as_quantity("amplitude", amplitude, dimensions, f"as {on} of the target is")
    strength = as_number("gain", gain, low=0.0)
    start = as_share("release_probability", release_probability)
    set_up = Costa2015() if constants is None else constants
    if not isinstance(set_up, Costa2015):
        raise ValueError(f"constants = {shown(constants)}: must be a Costa2015, or None")
    quantal = as_number(
        "quantal_amplitude", quantal_amplitude, low=0.0, high=set_up.largest_amplitude
    )
    names = {}
    for field in fields(set_up):
        value = getattr(set_up, field.name)
        seconds = brian().second if field.name.endswith("_s") else 1
        names[f"{field.name.removesuffix('_s')}_const_syn"] = value * seconds
    recorder = EventRecorder(dict.fromkeys("Pqpr", no_unit()) | {"m": dimensions})
    return assemble(
        source,
        target,
        name=name,
        equations=f"""
        dr_syn/dt = (1 - r_syn)/recovery_const_syn : 1 (event-driven)
        dp_syn/dt = (P_syn - p_syn)/facilitation_const_syn : 1 (event-driven)
        dx_plus_syn/dt = -x_plus_syn/x_plus_const_syn : 1 (event-driven)
        dy_plus_syn/dt = -y_plus_syn/y_plus_const_syn : 1 (event-driven)
        dy_minus_syn/dt = -y_minus_syn/y_minus_const_syn : 1 (event-driven)
        P_syn : 1
        q_syn : 1
        m_syn : {unit_name(dimensions)}
        """,
        on_pre=("kept_syn = keep_syn(t, P_syn, q_syn, p_syn, r_syn, m_syn)" if record else "")
        + f"""
        released_syn = p_syn*r_syn
        {on}_post += q_syn*released_syn*m_syn
        r_syn -= released_syn
        p_syn += P_syn*(1 - p_syn)
        growth_syn = (d_plus_const_syn*x_plus_syn - d_minus_const_syn*y_minus_syn)*y_plus_syn
        P_syn = clip(P_syn + gain_syn*growth_syn, 0, 1)
        x_plus_syn += 1
        """,
        on_post="""
        growth_syn = c_plus_const_syn*x_plus_syn*y_minus_syn
        q_syn = clip(q_syn + gain_syn*growth_syn, 0, largest_amplitude_const_syn)
        y_plus_syn += 1
        y_minus_syn += 1
        """,
        namespace={**names, "gain_syn": strength},
        start={
            "r_syn": 1.0,
            "p_syn": start,
            "P_syn": start,
            "q_syn": quantal,
            "m_syn": size,
        },
        connect=connect,
        recorder=recorder if record else None,
    )
