import dataclasses

import pytest

from tests.store.fakes import fake_encoder
from tests.training.fakes import make_setup, settings, tones
from unmute_jax.config import DatasetOptions, Experiment
from unmute_jax.datasets import Protocol
from unmute_jax.errors import InputError
from unmute_jax.store.embed import embed
from unmute_jax.store.key import Kept
from unmute_jax.training.setup import (
    changed_options,
    check_probes,
    make_probes,
    prepare,
)


def chosen(**options):
    return Experiment.from_dict(
        {"dataset": "esc10", "probes": "linear,mhca", "probe_options": options}
    )


def test_a_probe_that_cannot_cut_the_tokens_is_refused_before_any_is_made():
    with pytest.raises(InputError) as error:
        prepare(chosen())
    for words in (
        "probe 'mhca' on the tokens of log-mel patches",
        "num_heads=12 does not divide the 256 features; 8 does",
        "config.probe_options",
    ):
        assert words in str(error.value)
    assert list(prepare(chosen(num_heads=8)).probes) == ["linear", "mhca"]


def test_a_wrong_probe_is_found_before_anything_is_loaded():
    with pytest.raises(InputError, match="protobin"):
        check_probes(settings(probes="protobim"))
    with pytest.raises(InputError, match=r"config\.probes is empty"):
        check_probes(settings(probes=" , "))


def test_an_option_goes_to_the_probes_that_know_it():
    options = dataclasses.replace(settings().probe_options, prototypes_per_class=3)
    made = make_probes(settings(probe_options=options), 7)
    assert made["protobin"].prototypes_per_class == 3
    assert made["linear"].num_classes == 7
    changed = settings(probe_options=options)
    assert changed_options(changed, "protobin") == {"prototypes_per_class": 3}
    usual = dataclasses.replace(options, prototypes_per_class=20)
    assert changed_options(settings(probe_options=usual), "protobin") == {}


def test_layers_are_not_standardised_and_not_made_up():
    with pytest.raises(InputError, match=r"'cgp' .*leave out config\.standardise"):
        check_probes(settings(probes="cgp", standardise=True))
    encoder = fake_encoder()
    object.__setattr__(encoder, "_num_layers", 0)
    with pytest.raises(InputError, match="tokens of its last layer only"):
        embed(encoder, tones(), "test", kept=Kept(layers=True))


def test_splits_in_use_are_those_of_all_protocols_each_once():
    folds = ("fold1", "fold2", "fold3")
    protocols = tuple(
        Protocol(name=test, train=(train,), validation=(validation,), test=(test,))
        for train, validation, test in (folds, (*folds[1:], folds[0]))
    )
    made = dataclasses.replace(make_setup(), protocols=protocols)
    assert made.splits == folds


@pytest.mark.parametrize(("fold", "is_told"), [(None, False), (0, True)])
def test_a_fold_is_not_asked_for_in_vain(fold, is_told):
    options = DatasetOptions(test_fold=fold)
    made = make_setup(settings(dataset_options=options))
    told = "has no folds, so test_fold=0 changes nothing"
    assert any(told in note for note in made.notes) == is_told
    folds = dataclasses.replace(made, protocols=2 * made.protocols)
    assert not any(told in note for note in folds.notes)


def test_a_fitted_probe_has_one_seed():
    made = make_setup(settings(probes="linear,knn", seed=3, seeds=2))
    assert made.seeds("linear") == (3, 4)
    assert made.seeds("knn") == (3,)


def test_missing_data_and_encoder_are_named_together(tmp_path):
    chosen = Experiment(
        dataset="fsd50k",
        data_dir=str(tmp_path),
        encoder="eat",
        weights=str(tmp_path / "gone.pt"),
    )
    with pytest.raises(InputError) as error:
        prepare(chosen)
    first, *_, last = str(error.value).splitlines()
    assert "gone.pt" in first
    assert str(tmp_path) in last
