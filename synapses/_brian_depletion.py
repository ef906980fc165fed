"""brian2 synapses that run empty and facilitate: deterministic, and site by site."""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Float
from numpy import ndarray

from synapses._brian_build import Connect, assemble
from synapses._brian_draws import draws
from synapses._brian_events import EventRecorder
from synapses._brian_units import (
    Group,
    Quantity,
    as_duration,
    as_quantity,
    as_share,
    check_groups,
    no_unit,
    unit_name,
    writable,
)
from theory.checks import as_integer, one_of


def tsodyks_markram(
    source: Group,
    target: Group,
    *,
    amplitude: Quantity,
    use: float,
    tau_rec: Quantity,
    tau_facil: Quantity | None = None,
    convention: Literal["jump-first", "jump-last"] = "jump-first",
    on: str = "v",
    connect: Connect = None,
    record: bool = False,
    name: str = "tsodyks_markram*",
) -> Any:
    r"""Build synapses with deterministic short-term depression and facilitation.

    **Equation.** A share x of resources is available, of which a spike uses the share u:

    .. math::

        \dot x = (1 - x)/\tau_{rec}, \qquad x \leftarrow x - ux, \qquad
        \text{transmitted: } m\,ux .

    *jump-first*: :math:`\dot u = -u/\tau_{facil}`, a spike lets :math:`u \leftarrow u + U(1-u)`
    and uses u after this jump (Tsodyks, Pawelzik & Markram). *jump-last*: :math:`\dot u = (U -
    u)/\tau_{facil}`, a spike uses u as it is and lets it jump afterwards (Costa et al.; NEST's
    ``quantal_stp_synapse``). Both transmit the same, U at the first spike; they differ in what
    the variable u shows between spikes. Decay to U together with the use of u after the jump
    is another model, whose first spike uses U(2 - U); it is not offered.

    **Shapes and units.** Variables, one a synapse: ``x_syn``, ``u_syn`` (shares), ``m_syn``
    (unit of ``on``), and the constants ``use_syn``, ``tau_rec_syn``, ``tau_facil_syn``, which may
    be set synapse by synapse. Event driven: exact whatever the time step.

    Parameters
    ----------
    source : SpikeSource
        Group that spikes.
    target : Group
        Group that receives.
    amplitude : Quantity
        What all resources at once would add, in the unit of ``on``.
    use : float
        Utilisation U, in (0, 1].
    tau_rec : Quantity
        Time constant of recovery.
    tau_facil : Quantity or None
        Time constant of facilitation; None for none, u being U at all times.
    convention : {"jump-first", "jump-last"}
        What u means.
    on : str
        Variable of the target that transmission adds to.
    connect : dict, str or None
        As for :func:`stochastic_synapses`; ``n`` is allowed.
    record : bool
        Whether ``recorder`` keeps (t, u, x, m, synapse) of each event: the u used, x before it.
    name : str
        Name of the synapses.

    Returns
    -------
    brian2.Synapses
        Connected, with all resources available and no facilitation.

    Raises
    ------
    ValueError
        If a unit, a number or a name does not fit.

    References
    ----------
    Tsodyks & Markram (1997), doi:10.1073/pnas.94.2.719; Tsodyks, Pawelzik & Markram (1998),
    doi:10.1162/089976698300017502; Costa, Froemke, Sjöström & van Rossum (2015), eLife 4:e09457.

    Examples
    --------
    Facilitation::

        S = tsodyks_markram(
            spikes, neurons, amplitude=1 * mV, use=0.03, tau_rec=130 * ms, tau_facil=530 * ms
        )
    """
    check_groups(source, target)
    dimensions = writable("on", on, target, "target").dim
    size = as_quantity("amplitude", amplitude, dimensions, f"as {on} of the target is")
    one_of("convention", convention, ("jump-first", "jump-last"))
    equations, start = _short_term(use, tau_rec, tau_facil, convention)
    recorder = EventRecorder({"u": no_unit(), "x": no_unit(), "m": dimensions})
    jump = "u_syn += use_syn*(1 - u_syn)\n" if tau_facil is not None else ""
    first, last = (jump, "") if convention == "jump-first" else ("", jump)
    return assemble(
        source,
        target,
        name=name,
        equations=equations + f"\nm_syn : {unit_name(dimensions)}",
        on_pre=first
        + ("kept_syn = keep_syn(t, u_syn, x_syn, m_syn)\n" if record else "")
        + f"""
        released_syn = u_syn*x_syn
        {on}_post += released_syn*m_syn
        x_syn -= released_syn
        """
        + last,
        namespace={},
        start={**start, "m_syn": size},
        connect=connect,
        recorder=recorder if record else None,
    )


def quantal_depression(
    source: Group,
    target: Group,
    *,
    sites: int,
    amplitude: Quantity,
    use: float,
    tau_rec: Quantity,
    tau_facil: Quantity | None = None,
    on: str = "v",
    connect: Connect = None,
    record: bool = False,
    uniforms: Float[ndarray, "time synapse"] | None = None,
    name: str = "quantal_depression*",
) -> Any:
    r"""Build synapses whose release sites run empty and refill at random.

    **Equation.** A site is full or empty. An empty one refills at rate :math:`1/\tau_{rec}`,
    hence with probability :math:`1 - e^{-h/\tau_{rec}}` in an interval h; at a spike a full
    one releases with probability u, and is empty then. u is U, or, with facilitation, what
    :func:`tsodyks_markram` has. Its variable x is the probability that a site is full given
    what it was after the last spike; one draw :math:`\xi` decides both:

    .. math::

        r = [\xi < u x], \qquad x \leftarrow [\xi < x] - r .

    In a regular train the number of releases of a pair is Bin(N, ux) with the x of
    :func:`theory.information.depression_steady_state`, and successive numbers are correlated
    as :func:`theory.information.site_covariance` says; binomial numbers from the mean x would
    not be.

    **Shapes and units.** Variables, one a site: ``x_syn``, ``u_syn`` (shares), ``m_syn`` (unit
    of ``on``), the constants ``use_syn``, ``tau_rec_syn``, ``tau_facil_syn``, and the counters
    ``n_rel`` and ``energy_syn``.

    Parameters
    ----------
    source : SpikeSource
        Group that spikes.
    target : Group
        Group that receives.
    sites : int
        Number N of sites that join a pair.
    amplitude : Quantity
        What one site's release adds, in the unit of ``on``.
    use : float
        Probability U that a full site releases, in (0, 1].
    tau_rec : Quantity
        Time constant of refilling.
    tau_facil : Quantity or None
        Time constant of facilitation; None for none.
    on : str
        Variable of the target that a release adds to.
    connect : dict, str or None
        As for :func:`stochastic_synapses`.
    record : bool
        Whether ``recorder`` keeps (t, r, u, x, m, synapse) of each event, x before it.
    uniforms : ndarray or None
        As for :func:`stochastic_synapses`; the draws :math:`\xi`.
    name : str
        Name of the synapses.

    Returns
    -------
    brian2.Synapses
        Connected, with every site full.

    Raises
    ------
    ValueError
        If a unit, a number, a name or a shape does not fit.

    References
    ----------
    Fuhrmann, Segev, Markram & Tsodyks (2002), doi:10.1152/jn.00258.2001. One draw for both
    outcomes, and the covariance: derived here.

    Examples
    --------
    Depression as in a pyramidal cell, of ten sites::

        S = quantal_depression(
            spikes, neurons, sites=10, amplitude=0.1 * mV, use=0.5, tau_rec=800 * ms
        )
    """
    check_groups(source, target)
    dimensions = writable("on", on, target, "target").dim
    size = as_quantity("amplitude", amplitude, dimensions, f"as {on} of the target is")
    sites = as_integer("sites", sites, low=1)
    draw, names, numbers = draws(uniforms, source.clock)
    facil, start = _short_term(use, tau_rec, tau_facil, "jump-first")
    recorder = EventRecorder(
        {"r": no_unit(), "u": no_unit(), "x": no_unit(), "m": dimensions}, ("r",)
    )
    unit = unit_name(dimensions)
    return assemble(
        source,
        target,
        name=name,
        equations=facil
        + f"""
        m_syn : {unit}
        n_rel : integer
        energy_syn : {unit}
        """,
        on_pre=("u_syn += use_syn*(1 - u_syn)" if tau_facil is not None else "")
        + f"""
        chance_syn = {draw}
        released_syn = int(chance_syn < u_syn*x_syn)
        before_syn = x_syn
        full_syn = int(chance_syn < before_syn)
        x_syn = 1.0*(full_syn - released_syn)
        {on}_post += released_syn*m_syn
        n_rel += released_syn
        energy_syn += released_syn*abs(m_syn)
        """
        + ("kept_syn = keep_syn(t, released_syn, u_syn, before_syn, m_syn)" if record else ""),
        namespace=names,
        start={**start, "m_syn": size},
        connect=connect,
        sites=sites,
        uniforms=numbers,
        recorder=recorder if record else None,
    )


def _short_term(
    use: float, tau_rec: Quantity, tau_facil: Quantity | None, convention: str
) -> tuple[str, dict[str, Any]]:
    """Return equations and start of u and x."""
    share = as_share("use", use, open_low=True)
    # x would start at 0, and nothing be transmitted for a while
    start = {"use_syn": share, "x_syn": 1.0, "tau_rec_syn": as_duration("tau_rec", tau_rec)}
    equations = """
        dx_syn/dt = (1 - x_syn)/tau_rec_syn : 1 (event-driven)
        tau_rec_syn : second (constant)
        use_syn : 1 (constant)
        """
    if tau_facil is None:
        return equations + "u_syn : 1 (constant)", start | {"u_syn": share}
    start["tau_facil_syn"] = as_duration("tau_facil", tau_facil)
    rest = {"jump-first": "0", "jump-last": "use_syn"}[convention]
    start["u_syn"] = 0.0 if convention == "jump-first" else share
    equations += f"""
        du_syn/dt = ({rest} - u_syn)/tau_facil_syn : 1 (event-driven)
        tau_facil_syn : second (constant)
        """
    return equations, start
