"""What a population consists of: how a member's model is made, and what members differ in.

>>> import jax.numpy as jnp
>>> population = Population(lambda key: jnp.zeros(2), 3, {"learning_rate": [0.1, 0.2, 0.3]})
>>> [(one.seed, one.varied) for one in population.listed(seed=7)][:2]
[(7, {'learning_rate': 0.1}), (7, {'learning_rate': 0.2})]
>>> [one.seed for one in Population(lambda key: jnp.zeros(2), 3).listed(seed=7)]
[7, 8, 9]
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes

from etude.engine.hyper import overflows
from etude.engine.leaf_roles import is_array
from etude.engine.numbers import is_count
from etude.engine.precision import float_dtype
from etude.errors import ConfigurationError
from etude.kinds import is_a, is_mapping

#: What `vary` calls the seed of a member, and the first number that is none.
SEED, SEEDS_END = "seed", 2**63
_A_SEED = "a seed is a whole number from 0, below 2**63"


@dataclass(frozen=True)
class Member:
    """One member of a population.

    Attributes:
        number: counted from 0.
        seed: of its first model, its data order and its randomness.
        varied: the values of the member, as `vary` names them; without the seed.
        settings: those of them that `init` takes. Members of equal settings have arrays of equal
            shapes, and are a group.
    """

    number: int
    seed: int
    varied: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hyper(self) -> dict[str, Any]:
        """The values that reach rules and optimizers as `context.hyper`."""
        return {name: one for name, one in self.varied.items() if name not in self.settings}


@dataclass(frozen=True)
class Population:
    """Many members, trained side by side by one `Trainer(phases=..., population=...)`.

    A member with seed s is trained as `Trainer(init(jax.random.key(s)), phases, seed=s)` would
    train it alone: it begins with the same model, sees the same batches and has the same random
    numbers, and agrees with it to rounding.

    Attributes:
        init: `init(key)` makes the model of a member, `key` being `jax.random.key(seed)`.
        members: how many there are; None: as many as `vary` has values.
        vary: what members differ in, name -> one value for each member. "seed" is the seed of a
            member; the seed of the trainer, if it is not varied. A name that `init` takes as an
            argument is given to it, `init(key, width=64)`; members of equal values there are a
            group, and groups may have models of different shapes. Any other name is a number that
            rules, losses and optimizers read as `context.hyper[name]`. None: members differ in
            their seed, which counts up from that of the trainer.
        team: how many members at most step together in one compiled program. None: what a short
            timing at the beginning of a phase finds fastest; the history says it, and a resume
            keeps it.

    Raises `ConfigurationError` for what is no population, all problems in one message.

    >>> def init(key, width=8):
    ...     return {"w": jax.random.normal(key, (width,))}
    >>> population = Population(init, vary={"width": [8, 16], "seed": [0, 1]})
    >>> [one.settings for one in population.listed(seed=0)]
    [{'width': 8}, {'width': 16}]
    """

    init: Callable[..., Any]
    members: int | None = None
    vary: Mapping[str, Iterable[Any]] | None = None
    team: int | None = None

    def __post_init__(self):
        settings = arguments(self.init) if callable(self.init) else frozenset[str]()
        object.__setattr__(self, "vary", _listed(self.vary, settings))
        for name in ("members", "team"):
            if is_count(count := getattr(self, name)):  # a checkpoint has numbers of Python alone
                object.__setattr__(self, name, int(count))
        if problems := _problems(self):
            raise ConfigurationError("Population: " + " ".join(problems))

    @property
    def count(self) -> int:
        """How many members there are."""
        if self.members is not None:
            return self.members
        return len(next(iter(self._values.values())))

    @property
    def _values(self) -> Mapping[str, tuple[Any, ...]]:
        return self.vary or {}  # type: ignore[return-value]  # tuples, by __post_init__

    def listed(self, seed: int) -> tuple[Member, ...]:
        """Its members, in a trainer of this seed.

        Raises `ConfigurationError` if that makes a seed of a member that is none.
        """
        values = dict(self._values)
        last = 0 if values else self.count - 1
        if SEED not in values and not (is_seed(seed) and is_seed(int(seed) + last)):
            raise ConfigurationError(
                f"Population: {_A_SEED}; got {seed!r} from the trainer for {self.count} members. "
                "Pass Trainer(seed=0)."
            )
        if not values:
            values[SEED] = tuple(range(int(seed), int(seed) + self.count))
        seeds = values.pop(SEED, (seed,) * self.count)
        taken = arguments(self.init)
        found: list[Member] = []
        for number in range(self.count):
            varied = {name: column[number] for name, column in values.items()}
            settings = {name: one for name, one in varied.items() if name in taken}
            found.append(Member(number, int(seeds[number]), varied, settings))
        return tuple(found)

    def model(self, member: Member) -> Any:
        """The model that a member begins with."""
        try:
            return self.init(jax.random.key(member.seed), **member.settings)
        except Exception as error:
            given = "".join(f", {name}={one!r}" for name, one in member.settings.items())
            error.add_note(
                f"In the init of a population, for member {member.number}: "
                f"init(jax.random.key({member.seed}){given})."
            )
            raise


def is_seed(value: Any) -> bool:
    """Whether a value is the seed of a member."""
    return is_count(value, least=0) and int(value) < SEEDS_END


def arguments(init: Callable[..., Any]) -> frozenset[str]:
    """The names of what `init` takes beside its key."""
    try:
        parameters = list(inspect.signature(init).parameters.values())
    except ValueError:  # some built-in functions have none
        return frozenset()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(one.name for one in parameters[1:] if one.kind in named)


def _listed(vary: Any, settings: frozenset[str]) -> Any:
    """The values as tuples, numbers of one name of one type where they are no settings; what is no
    list is left for `_problems`."""
    if not is_mapping(vary):
        return vary
    return {
        name: (_plain(values) if name in settings else _alike(_plain(values)))
        if _is_list(values)
        else values
        for name, values in vary.items()
    }


def _plain(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(one.item() if _is_scalar(one) else one for one in values)


def _alike(values: tuple[Any, ...]) -> tuple[Any, ...]:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    if not (numbers and any(isinstance(one, float) for one in values)):
        return values
    try:
        return tuple(map(float, values))
    except OverflowError:  # `_problems` names it
        return values


def _is_scalar(value: Any) -> bool:
    return is_array(value) and value.ndim == 0 and not jnp.issubdtype(value.dtype, dtypes.prng_key)


def _is_list(values: Any) -> bool:
    # A set has no order, which says whose value is whose.
    unfit = str | bytes | Mapping | set | frozenset
    return is_a(values, Iterable) and not isinstance(values, unfit)


def _problems(population: Population) -> list[str]:
    found: list[str] = []
    if not callable(population.init):
        found.append(
            f"init is a function of a key that makes a model; got {population.init!r}. Pass "
            "init=lambda key: Model(key)."
        )
    members, vary = population.members, population.vary
    if not (members is None or is_count(members)):
        found.append(f"members is a whole number from 1; got {members!r}.")
    if not (population.team is None or is_count(population.team)):
        found.append(f"team is a whole number of members from 1; got {population.team!r}.")
    if not (vary is None or is_mapping(vary)):
        found.append(
            f"vary has the values of the members by name; got {vary!r}. Pass "
            'vary={"learning_rate": [1e-3, 1e-2]}.'
        )
    if found:
        return found
    if members is None and not vary:
        return ["say how many members there are: Population(init, members=16), or vary={...}."]
    return [*_wrong_values(population)]


def _wrong_values(population: Population) -> Iterable[str]:
    vary: Mapping[Any, Any] = population.vary or {}
    for name, values in vary.items():
        if not is_a(name, str):
            yield f"vary names what varies; got {name!r}."
        elif not isinstance(values, tuple):
            yield f"vary[{name!r}] has one value for each member; got {values!r}. Pass a list."
    lengths = {name: len(one) for name, one in vary.items() if isinstance(one, tuple)}
    wanted = population.members or next(iter(lengths.values()), 1)
    if 0 in lengths.values():
        empty = [name for name, length in lengths.items() if not length]
        yield f"vary[{empty[0]!r}] is empty; give it a value for each member."
    elif set(lengths.values()) - {wanted}:
        told = ", ".join(f"{length} of {name!r}" for name, length in lengths.items())
        yield (
            f"vary has one value of each name for each member: got {told}, expected {wanted}. For "
            "every combination of several lists: "
            "rates, seeds = zip(*itertools.product(rates, seeds))."
        )
    for seed in vary.get(SEED, ()) if isinstance(vary.get(SEED), tuple) else ():
        if not is_seed(seed):
            yield f"{_A_SEED}; got {seed!r}."
            break
    named = [name for name in vary if is_a(name, str) and name != SEED]
    taken = arguments(population.init)
    if SEED in vary and SEED in taken:
        yield (
            f"vary[{SEED!r}] is the seed of a member, whose key init gets; it is not given to the "
            f"argument {SEED!r} of init. Give that another name."
        )
    yield from _uncallable(population.init, [name for name in named if name in taken])
    for name in named:
        if not isinstance(vary[name], tuple):
            continue
        for number, value in enumerate(vary[name]):
            cure = _cure_of_setting(value) if name in taken else _cure(value, vary[name])
            if cure:
                yield f"vary[{name!r}] has {value!r} for member {number}. {cure}"
                break


def _uncallable(init: Callable[..., Any], names: Iterable[str]) -> Iterable[str]:
    """A sentence if `init` cannot be called with a key and these arguments."""
    try:
        signature = inspect.signature(init)
    except ValueError:
        return
    try:
        signature.bind(None, **dict.fromkeys(names))
    except TypeError as error:
        call = ", ".join(["key", *(f"{name}=..." for name in names)])
        yield (
            f"init is called as init({call}), which init{signature} does not take: {error}. Let it "
            "take the key first, and give any other argument a value in vary or a default."
        )


def _cure_of_setting(value: Any) -> str | None:
    """What to pass in place of a value that cannot be an argument of `init`."""
    if is_array(value):
        return (
            "A setting is a number, a name or another plain value, by which a resume knows it. Let "
            "init make the array of one."
        )
    return None


def _cure(value: Any, column: tuple[Any, ...]) -> str | None:
    """What to pass in place of a value that rules and optimizers cannot read as a number."""
    if not isinstance(value, bool | int | float | complex):
        return "What init does not take is a number. Pass one, or let init take that argument."
    if value != value:
        return "NaN is no number. Pass one, or leave the member out."
    if overflows(value) or (
        isinstance(value, float) and float(np.finfo(float_dtype()).max) < abs(value) < math.inf
    ):
        return "It does not fit the numbers of JAX. Scale it."
    if type(value) is not type(column[0]):
        return (
            f"Its kind is {type(value).__name__}, and that of member 0 is "
            f"{type(column[0]).__name__}. Pass numbers of one kind."
        )
    return None
