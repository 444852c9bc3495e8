"""A trainer from elsewhere with further callbacks: the same training, and theirs."""

import jax.numpy as jnp
import pytest
from little_recipe import Little, recipe

import etude as et
from etude.errors import ConfigurationError


def trainer():
    return recipe.trials(Little(steps=10))[0].build(progress=False)


def test_it_is_the_same_training_and_the_first_trainer_has_its_own():
    class Count(et.Callback):
        seen = 0

        def on_validation_end(self, event, metrics):
            self.seen += 1

    first, counted = trainer(), Count()
    result = first.watched_by(counted).fit()
    assert counted.seen == 2
    assert first.fit().model == result.model
    assert counted.seen == 2


def test_what_it_cannot_watch_is_refused():
    class Probing(et.Callback):
        def probe(self, updates, trainable):
            return {"norm": jnp.zeros(())}

    with pytest.raises(ConfigurationError, match="without a probe"):
        trainer().watched_by(Probing())
    with pytest.raises(ConfigurationError, match="Did you mean 'valid/loss'"):
        trainer().watched_by(et.EarlyStopping("valid/los", mode="min"))


def test_a_population_has_the_callbacks_that_it_was_given():
    one = trainer()
    population = et.Population(lambda key: jnp.zeros(()), members=2)
    several = et.Trainer(phases=one.settings.phases, population=population, progress=False)
    with pytest.raises(ConfigurationError, match="for the training of one model"):
        several.watched_by(et.Callback())
