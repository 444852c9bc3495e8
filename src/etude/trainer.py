"""The trainer: it runs phases over a model. Here the parts meet.

>>> import jax.numpy as jnp, optax
>>> import etude as et
>>> def loss(w, batch, context):
...     return jnp.mean((w - batch) ** 2)
>>> phase = et.Phase(
...     "fit", et.Learner(et.Gradient(loss), optax.sgd(0.1)),
...     et.ArrayData(jnp.ones(8), batch_size=4), et.Epochs(50))
>>> result = et.Trainer(jnp.zeros(()), [phase], progress=False).fit()
>>> round(float(result.model), 3), result.reason.name
(1.0, 'LENGTH')
"""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jax.sharding import Mesh
from jaxtyping import PyTree

from etude.callbacks import Callback, ModelCheckpoint, Progress, Reason
from etude.engine.ending import bound
from etude.engine.layout import layout_of
from etude.engine.numbers import is_count
from etude.engine.phase import Phase
from etude.engine.processes import processes
from etude.engine.program import Executor
from etude.engine.sharding import Sharding
from etude.errors import ConfigurationError, memory_explained
from etude.export.weights import save_weights
from etude.population import MemberResult, Population
from etude.population.binding import Bound, bind_population
from etude.population.given import Given
from etude.population.handing_out import FinishedPopulation
from etude.population.results import member_results, write_table
from etude.population.resuming import load_population
from etude.population.subject import Members
from etude.run import History, Run
from etude.training.binding import bind
from etude.training.fingerprint import described
from etude.training.hooks import Hooks
from etude.training.loop import Training
from etude.training.nonfinite import NonFinite
from etude.training.one_model import OneModel
from etude.training.options import check_options, checked_nonfinite, checked_seed
from etude.training.restoring import restore_model
from etude.training.resuming import Resume, goes_on
from etude.training.settings import Settings
from etude.training.together import agree_on, opened


@dataclass(frozen=True)
class Result:
    """What a training leaves: the model, why it ended, and its records.

    Of a population, `model` is a tuple of the models of its members, and the names of `metrics`
    end with the number of a member, as the columns of the history do: `valid/loss.3`.
    """

    model: Any = field(repr=False)
    #: why the last phase ended, and the same for every visit in order
    reason: Reason
    reasons: tuple[tuple[str, Reason], ...]
    #: what the validations of the last phase give for `model`; the last validation, which may
    #: be of other weights, is in the history
    metrics: dict[str, Any]
    run: Path | None
    #: every step's metrics, every validation and event of this training, whatever happens to its
    #: run later; unpacked when asked for
    history: History = field(repr=False)
    #: where each member of a population ended
    members: tuple[MemberResult, ...] = ()

    def member(self, number: int) -> Any:
        """The model of one member of a population, counted from 0.

        Raises `ConfigurationError` if there is no such member.
        """
        if not (is_count(number, least=0) and number < len(self.members)):
            raise ConfigurationError(
                f"There is no member {number!r}: "
                + (
                    f"got a population of {len(self.members)}, counted from 0."
                    if self.members
                    else "one model was trained, which is in `model`."
                )
            )
        return self.model[number]

    def save_weights(self, path: str | Path) -> None:
        """Write the arrays of the model into a safetensors file; `etude.load_weights` reads it.

        Raises what `etude.save_weights` raises.
        """
        save_weights(self.model, path)


class Trainer:
    """Runs phases over a model.

    Args:
        model: any pytree with arrays in it; it stays valid and unchanged.
        phases: one or several, run in order; each starts from what the one before kept.
        population: many members to train side by side, in place of `model`; see `Population`.
        callbacks: beside the training; see `Callback`.
        run: folder of the run (configuration, history, checkpoints); nothing is written if None.
        seed: seed of all randomness and of the data order.
        nonfinite: what to do about NaN: "stop", "skip", "rollback", or a `NonFinite`.
        progress: show progress on standard error.
        config: what `config.yaml` of the run says, so that it can be repeated.
        overwrite: replace the run folder if it exists.
        executor: "loop" or "dispatch" instead of the engine's own choice. Under
            `jax.disable_jit()` steps are dispatched one by one in any case.
        on_full_disk: "stop", or "continue" without checkpoints, when one cannot be written.
        mesh: several devices, `et.mesh(data=4)`, over whose axis `data` the samples of every batch
            are spread, or `et.mesh(members=4)`, over which the members of a population are; None:
            one device, that of the model or the default one.
        sharding: how the model is spread over the mesh, and with it optimizer states and averages.
            None: whole on every device. `et.Sharded()`: large arrays over the axis `data`. Rules by
            path, regular expressions of which the first that matches decides:
            `{"layers.*weight": PartitionSpec(None, "model")}`.

    Raises `ConfigurationError`, `ModelError` or `DataError` before any work starts, with all
    problems in one message.
    """

    def __init__(
        self,
        model: PyTree = None,
        phases: Phase | Sequence[Phase] = (),
        *,
        population: Population | Given | None = None,
        callbacks: Sequence[Callback] = (),
        run: str | Path | None = None,
        seed: int = 0,
        nonfinite: Literal["stop", "skip", "rollback"] | NonFinite = "stop",
        progress: bool = True,
        config: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        executor: Executor | None = None,
        on_full_disk: Literal["stop", "continue"] = "stop",
        mesh: Mesh | None = None,
        sharding: Sharding = None,
    ):
        check_options(
            executor=executor, on_full_disk=on_full_disk, progress=progress, overwrite=overwrite
        )
        seed, nonfinite = checked_seed(seed), checked_nonfinite(nonfinite)
        # Absolute at once: a callback may change the working directory.
        self.folder = None if run is None else Path(run).absolute()
        self.config, self.overwrite = config, overwrite
        self._free = [True]
        listed = [Progress(), *callbacks] if progress else list(callbacks)
        if not any(isinstance(callback, ModelCheckpoint) for callback in listed):
            listed.append(ModelCheckpoint())
        phases = (phases,) if isinstance(phases, Phase) else tuple(phases)
        self._population = None
        if population is not None:
            self._population = _bound(
                population,
                model,
                phases,
                listed,
                mesh=mesh,
                sharding=sharding,
                nonfinite=nonfinite,
                folder=self.folder,
                seed=seed,
                executor=executor,
                on_full_disk=on_full_disk,
            )
            self.settings = self._population.settings
        else:
            hooks, layout = Hooks(listed), layout_of(mesh, sharding, model)
            bound, reports = bind(
                model, phases, hooks, policy=nonfinite.policy, folder=self.folder, layout=layout
            )
            self.settings = Settings(
                model,
                phases,
                bound,
                reports,
                hooks,
                nonfinite,
                seed,
                executor,
                on_full_disk,
                layout,
            )
        for callback, hook in self.settings.hooks.impatient:
            warnings.warn(
                f"{type(callback).__name__} has {hook}, so every step is a chunk of its own, "
                "which is slow. on_steps_end gets the metrics of every step without that.",
                stacklevel=2,
            )

    def watched_by(self, *callbacks: Callback) -> "Trainer":
        """A trainer of the same training, with further callbacks.

        For who gets a trainer from elsewhere, as a search from a recipe. Raises
        `ConfigurationError` for a callback that goes by something that no phase reports, or that
        measures inside the step (`probe`), which is compiled with the trainer's own; and of a
        population, whose callbacks are bound to its members.
        """
        if self._population is not None:
            raise ConfigurationError(
                "watched_by is for the training of one model; give a population its callbacks as "
                "Trainer(callbacks=...)."
            )
        hooks = Hooks([*self.settings.hooks.callbacks, *callbacks])
        if len(hooks.probes) > len(self.settings.hooks.probes):
            raise ConfigurationError(
                "watched_by takes callbacks without a probe; give those to the Trainer itself."
            )
        other = copy.copy(self)
        reports = self.settings.reports.watched_by(hooks.callbacks)
        other.settings = replace(self.settings, hooks=hooks, reports=reports)
        other._free = [True]
        return other

    def fit(self, *, resume: Literal["auto"] | None = None) -> Result:
        """Trains from the beginning.

        Args:
            resume: "auto" goes on by `resume()` where there is a run in the folder already, so that
                one script begins, goes on, and has nothing to do once the run is finished.

        Raises:
            ConfigurationError: `resume` is something else, or comes without `run`, or with
                `overwrite`.
            NonFiniteError: a loss or update was not finite, and the policy could not help.
            Interrupted: SIGTERM, SIGHUP or Ctrl-C; the state is saved if there is a run folder.
            OutOfMemoryError: the model, its optimizer or a batch does not fit.
            CheckpointError: a checkpoint could not be written, and `on_full_disk="stop"`.
        """
        folder = self.folder
        if processes().first_says(lambda: goes_on(resume, folder, overwrite=self.overwrite)):
            return self.resume()
        if folder is None:
            return self._run(None)
        config = self.config or _described(self.settings.phases)

        def create() -> Run:
            return Run.create(folder, config, self.settings.seed, overwrite=self.overwrite)

        return self._run(folder, create)

    def resume(
        self,
        run: str | Path | None = None,
        *,
        checkpoint: str | None = None,
        changes: Literal["refuse", "allow"] = "refuse",
    ) -> Result:
        """Goes on with a run of this same trainer, to the same bits as if never interrupted.

        A phase that has become longer trains on, also in a run that was finished.

        Args:
            run: its folder, if it is not the trainer's own.
            checkpoint: where to go on: a name in `checkpoints/`, or "step-500" for the one at step
                500 of the run. Later checkpoints are removed, and the history is cut. None: the
                newest that is whole.
            changes: what to do if other settings than these made the run: "refuse", or "allow" to
                go on with the new ones, which an event in the history lists. A phase that is
                already longer than it shall be then ends at once.

        Raises:
            ResumeError: the run is of another model or other settings, listed with got and
                expected, or all its checkpoints were removed.
            CheckpointError: no such checkpoint, with near matches, or none that is whole.
        """
        folder = self.folder if run is None else Path(run)
        if folder is None:
            raise ConfigurationError("resume needs the folder of a run: trainer.resume('runs/x').")
        if changes not in ("refuse", "allow"):
            raise ConfigurationError(f"changes is 'refuse' or 'allow'; got {changes!r}.")
        how = Resume(checkpoint, changes, self.config)
        return self._run(folder, lambda: Run.open(folder), how)

    def load(self, run: str | Path | None = None, *, checkpoint: str | None = None) -> Any:
        """The model as a checkpoint of a run of this same trainer has it, the newest by default.

        Nothing is trained or written; the run may be unfinished, or in training meanwhile. Of a
        population, a tuple of the models of its members.
        Raises `ResumeError` if the run is of another model, `CheckpointError` if there is no such
        checkpoint, or none yet.
        """
        folder = self.folder if run is None else Path(run)
        if folder is None:
            raise ConfigurationError("load needs the folder of a run: trainer.load('runs/x').")
        with Run.open(folder, lock=False) as opened:
            if self._population is not None:
                return load_population(Members(self._population.anew()), opened, checkpoint)
            return restore_model(opened, self.settings.model, checkpoint)

    def finished_population(self, run: str | Path | None = None) -> FinishedPopulation:
        """The members of a run that is trained, for handing them out as runs of their own.

        Raises what `load` raises, and `ConfigurationError` for a trainer without population.
        """
        folder = self.folder if run is None else Path(run)
        if folder is None or self._population is None:
            raise ConfigurationError(
                "finished_population needs a trainer with a population, and the folder of its run."
            )
        return FinishedPopulation.open(self._population, folder)

    def _run(
        self,
        folder: Path | None,
        open_run: Callable[[], Run] | None = None,
        how: Resume | None = None,
    ) -> Result:
        with contextlib.ExitStack() as within:
            within.enter_context(self._alone())
            within.enter_context(memory_explained())
            within.enter_context(bound(processes()))
            population = self._population
            crowd = Members(population.anew()) if population else None
            subject = crowd or OneModel(self.settings.anew())
            agree_on(subject)
            run = None
            if folder is not None and open_run is not None:
                # A training closes its run itself; here it is freed if it cannot even be begun.
                run = within.enter_context(opened(open_run, folder))
            training = Training(subject, run)
            training.run_through(how)
        members = member_results(crowd, training) if crowd else ()
        if members and run is not None:
            write_table(run.path, members)
        return Result(
            model=training.session.hand_over(),
            reason=training.session.reasons[-1][1],
            reasons=tuple(training.session.reasons),
            metrics=training.metrics,
            run=None if run is None else run.path,
            history=training.history(),
            members=members,
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Its callbacks remember one training: another one meanwhile would mix them up."""
        try:
            token = self._free.pop()  # in one step, so that of two threads one gets it
        except IndexError:
            raise ConfigurationError(
                "This trainer is training already, in another thread or below one of its "
                "callbacks. Make a trainer for each training, with callbacks of its own."
            ) from None
        try:
            yield
        finally:
            self._free.append(token)


def _bound(
    population: Population | Given,
    model: PyTree,
    phases: tuple[Phase, ...],
    listed: list[Callback],
    **options: Any,
) -> Bound:
    if processes().count > 1:
        raise ConfigurationError(
            f"A population trains in one process; got {processes().count}. Start one alone, or "
            "train the members one by one: Trainer(model, ..., mesh=...)."
        )
    if not isinstance(population, Population | Given):
        raise ConfigurationError(
            f"population is a Population; got {type(population).__name__}. Pass "
            "Population(init, members=16)."
        )
    if model is not None:
        raise ConfigurationError(
            "A trainer has a model or a population; got both. The init of the population makes "
            "the model of each member: Trainer(phases=..., population=...)."
        )
    return bind_population(population, phases, listed, **options)


def _described(phases: Sequence[Phase]) -> dict[str, Any]:
    """What `config.yaml` says of a run that nobody gave a configuration: phases and numbers."""
    hyper = {phase.name: described(phase.hyper) for phase in phases if phase.hyper}
    return {"phases": [phase.name for phase in phases], **({"hyper": hyper} if hyper else {})}
