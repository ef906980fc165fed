"""Settings of ``sandbox synapse``: one frozen dataclass a model, on top of a common one."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_type_hints

from cyclopts import Group, Parameter, Token

from sandbox.training.config import SettingError, Whole

if TYPE_CHECKING:
    from synapses.traces import Synapse

__all__ = ["BinomialConfig", "Config", "DepressionConfig", "TsodyksMarkramConfig", "to_toml"]

_model = Group("Synapse", sort_key=0)
_train = Group("Spike train and trials", sort_key=1)


def _numbers(_: Any, tokens: tuple[Token, ...]) -> tuple[float, ...]:
    """Return numbers from ``0.1,0.5`` on the command line."""
    words = [word for token in tokens for word in token.value.split(",") if word.strip()]
    try:
        return tuple(float(word) for word in words)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a list of numbers, as in 0.1,0.5") from None


Seconds = Annotated[float, Parameter(group=_train)]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the models have in common: the spike train, the trace, the seed.

    Parameters
    ----------
    train : str
        regular: the first spike one interval after 0; poisson: one draw, the same in every
        trial.
    rate : float
        Spikes a second.
    duration : float
        Length of the train in seconds.
    times : str
        Text file of spike times in seconds instead of a train; then rate and duration do
        nothing.
    decay : float
        Time constant of a postsynaptic potential, in seconds.
    rise : float
        Time constant of its rise, in seconds; 0 for a jump.
    seed : int
        Root of all random streams.

    Raises
    ------
    SettingError
        If a value is out of range or of the wrong type.
    """

    name: ClassVar[str] = ""

    train: Annotated[Literal["regular", "poisson"], Parameter(group=_train)] = "regular"
    rate: Seconds = 20.0
    duration: Seconds = 0.5
    times: Annotated[str, Parameter(group=_train, show_default=False)] = ""
    decay: Seconds = 0.02
    rise: Seconds = 0.0
    seed: Annotated[Whole, Parameter(group=_train)] = 0

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as problem:
            raise SettingError(str(problem)) from None

    def _check(self) -> None:
        """Refuse values that do not fit."""
        from theory.checks import as_integer, as_number, one_of

        one_of("train", self.train, get_args(get_type_hints(type(self))["train"]))
        as_integer("seed", self.seed, low=0, high=2**128 - 1)
        as_number("rate", self.rate, low=0.0, open_low=True)
        as_number("duration", self.duration, low=0.0, open_low=True)
        as_number("decay", self.decay, low=0.0, open_low=True)
        as_number("rise", self.rise, low=0.0, high=self.decay, open_high=True)
        if self.number_of_trials() < 1:
            raise ValueError(f"trials = {self.number_of_trials()}: must be a whole number >= 1")
        self.synapse()

    def number_of_trials(self) -> int:
        """Return how often the train is repeated; once for what is deterministic."""
        return int(getattr(self, "trials", 1))

    def synapse(self) -> Synapse:
        """Return the model that the settings name."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class BinomialConfig(Config):
    """Sites that release independently, whatever went before.

    Parameters
    ----------
    sites : int
        Number N of release sites; 1 is Bernoulli release.
    release_probability : float
        Probability p that a site releases a quantum at a spike.
    quantal_size : float
        Mean q of a quantum.
    quantal_cv : float
        Coefficient of variation c of a quantum.
    probabilities : tuple of float
        Release probabilities of the conditions of the mean-variance parabola, as in 0.1,0.5.
    trials : int
        Repetitions of the train, and amplitudes of every condition.
    """

    name: ClassVar[str] = "binomial"

    sites: Annotated[Whole, Parameter(group=_model)] = 5
    release_probability: Annotated[float, Parameter(group=_model)] = 0.3
    quantal_size: Annotated[float, Parameter(group=_model)] = 1.0
    quantal_cv: Annotated[float, Parameter(group=_model)] = 0.3
    probabilities: Annotated[
        tuple[float, ...],
        Parameter(group=_model, converter=_numbers, n_tokens=1, accepts_keys=False, negative=()),
    ] = (0.1, 0.3, 0.5, 0.7, 0.9)
    trials: Annotated[Whole, Parameter(group=_train)] = 500

    def synapse(self) -> Synapse:
        """Return the release model."""
        from synapses.release import ReleaseModel

        return ReleaseModel(
            self.sites, self.release_probability, self.quantal_size, self.quantal_cv
        )

    def _check(self) -> None:
        from theory.checks import as_number

        super()._check()
        if not self.probabilities:
            raise ValueError("probabilities = (): must be one or more numbers, as in 0.1,0.5")
        for k, p in enumerate(self.probabilities):
            as_number(f"probabilities[{k}]", p, low=0.0, high=1.0, open_low=True)


@dataclass(frozen=True, kw_only=True)
class DepressionConfig(Config):
    """Sites that run empty when they release and refill at random.

    Parameters
    ----------
    sites : int
        Number N of release sites.
    use : float
        Probability U that a full site releases.
    recovery : float
        Time constant of refilling, in seconds.
    facilitation : float
        Time constant of facilitation, in seconds; 0 for none.
    quantal_size : float
        Mean q of a quantum.
    quantal_cv : float
        Coefficient of variation c of a quantum.
    trials : int
        Repetitions of the train.
    """

    name: ClassVar[str] = "depression"

    sites: Annotated[Whole, Parameter(group=_model)] = 5
    use: Annotated[float, Parameter(group=_model)] = 0.5
    recovery: Annotated[float, Parameter(group=_model)] = 0.8
    facilitation: Annotated[float, Parameter(group=_model)] = 0.0
    quantal_size: Annotated[float, Parameter(group=_model)] = 1.0
    quantal_cv: Annotated[float, Parameter(group=_model)] = 0.3
    trials: Annotated[Whole, Parameter(group=_train)] = 500

    def synapse(self) -> Synapse:
        """Return the depressing synapse."""
        from synapses.traces import QuantalDepression

        return QuantalDepression(
            self.sites,
            self.use,
            self.recovery,
            None if self.facilitation == 0 else self.facilitation,
            self.quantal_size,
            self.quantal_cv,
        )


@dataclass(frozen=True, kw_only=True)
class TsodyksMarkramConfig(Config):
    """Resources that are used up and recover, deterministically.

    Parameters
    ----------
    use : float
        Utilisation U.
    recovery : float
        Time constant of recovery, in seconds.
    facilitation : float
        Time constant of facilitation, in seconds; 0 for none.
    amplitude : float
        Amplitude if all resources were released at once.
    convention : str
        jump-first: u decays to 0 and is used after its jump; jump-last: u decays to U and is
        used before. Both release the same.
    """

    name: ClassVar[str] = "tsodyks-markram"

    use: Annotated[float, Parameter(group=_model)] = 0.5
    recovery: Annotated[float, Parameter(group=_model)] = 0.8
    facilitation: Annotated[float, Parameter(group=_model)] = 0.0
    amplitude: Annotated[float, Parameter(group=_model)] = 1.0
    convention: Annotated[Literal["jump-first", "jump-last"], Parameter(group=_model)] = (
        "jump-first"
    )

    def synapse(self) -> Synapse:
        """Return the deterministic synapse."""
        from synapses.traces import TsodyksMarkram

        return TsodyksMarkram(
            self.use,
            self.recovery,
            None if self.facilitation == 0 else self.facilitation,
            self.amplitude,
            self.convention,
        )


def to_toml(config: Config, spikes_sha256: str) -> str:
    """Return the settings as TOML: the model, all of its settings, and which spikes there were.

    Parameters
    ----------
    config : Config
        The settings.
    spikes_sha256 : str
        Checksum of the spike times, which may come from a file that changes.

    Returns
    -------
    str
        ``key = value`` lines.

    Examples
    --------
    >>> to_toml(TsodyksMarkramConfig(rate=50.0), "ab").splitlines()[:3]
    ['model = "tsodyks-markram"', 'train = "regular"', 'rate = 50.0']
    """
    # JSON writes text, numbers, booleans and lists the way TOML does
    settings = {"model": config.name} | dataclasses.asdict(config)
    settings |= {"spikes_sha256": spikes_sha256}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
