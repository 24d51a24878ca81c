import pytest

from unmute_jax.config import (
    Experiment,
    Sweep,
    default_config,
    options_of,
    what_counts,
)
from unmute_jax.errors import InputError


def changed(**values):
    config = default_config()
    for key, value in values.items():
        config[key] = value
    return Experiment.from_dict(config.to_dict())


def test_the_default_config_is_the_default_experiment():
    assert Experiment.from_dict(default_config().to_dict()) == Experiment()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "did you mean 'config.epochs'"),
        ({"optimizer": {"lr": 1.0}}, "config.optimizer.lr"),
        ({"epochs": 2.5}, "config.epochs=2.5: must be of type int"),
        ({"refit": 1}, "config.refit=1: must be of type bool"),
        ({"epochs": 0}, "config.epochs=0: must be at least 1"),
        ({"report_epoch": "lust"}, "did you mean 'last'"),
        ({"audio": {"on_bad": "stop"}}, "config.audio.on_bad"),
        ({"tokens": {"dtype": "float16"}}, "float32"),
        ({"optimizer": {"learning_rates": ()}}, "learning_rates is empty"),
        ({"refit": True, "report_epoch": "best"}, "no validation split"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(values, message):
    with pytest.raises(InputError, match=message) as caught:
        Experiment.from_dict(values)
    assert "\n" not in str(caught.value)


def test_the_folder_of_a_run_is_named_by_what_changes_its_numbers():
    assert changed(devices=3).default_workdir() == changed().default_workdir()
    folders = {changed(seed=s).default_workdir() for s in range(3)}
    assert len(folders) == 3
    assert changed().default_workdir().startswith("runs/esc_mix-logmel-protobin-")
    deep = {changed(dataset=f"folder:/{200 * 'a'}/{200 * b}") for b in "bc"}
    runs = {settings.default_workdir() for settings in deep}
    assert len(runs) == 2
    assert max(len(run.removeprefix("runs/")) for run in runs) < 255


def test_a_setting_that_was_added_later_leaves_old_names_alone():
    # The digest of the default experiment before `differentiate_weights` existed, when
    # seven rates were tried.
    config = default_config()
    config.optimizer.learning_rates = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)

    def digest():
        return Experiment.from_dict(config.to_dict()).digest()

    assert digest() == "45c19e8c"
    config.loss.differentiate_weights = False
    assert digest() != "45c19e8c"
    config.loss.differentiate_weights = None
    config.steps = 1
    assert digest() != "45c19e8c"


def test_a_search_has_the_name_of_the_ranges_that_it_searches():
    def digest(**values):
        sweep = values.pop("sweep", {})
        return Experiment.from_dict({**values, "sweep": sweep}).digest()

    # The digest of a sweep before there were other ranges than the paper's.
    before = "0a31f381"
    rates = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    sweep = {"search": "sweep", "optimizer": {"learning_rates": rates}}
    assert digest(**sweep, sweep={"ranges": "paper"}) == before
    assert digest(**sweep) != before
    # A list of rates has no ranges, and only knn has neighbours.
    assert digest(sweep={"ranges": "paper", "neighbours": (3,)}) == digest()
    assert digest(probes="knn", sweep={"neighbours": (3,)}) != digest(probes="knn")


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"ranges": "papers"}, "did you mean 'paper'"),
        ({"lowest_rate": 0.5}, r"linear would be searched from 0\.5 to 0\.3"),
        ({"ranges": "paper", "highest_rate": 1e-3}, "protobin would be searched"),
        ({"neighbours": (0,)}, r"neighbours=\(0\.0,\).*none below 1"),
        ({"temperatures": ()}, "temperatures"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(sweep, message):
    with pytest.raises(InputError, match=message):
        Experiment.from_dict({"sweep": sweep})


def test_an_older_run_is_compared_by_what_it_did():
    ours = Experiment(search="sweep").to_dict()
    older = {k: v for k, v in ours.items() if k not in ("steps", "devices")}
    new = ("ranges", "neighbours", "temperatures")
    older["sweep"] = {k: v for k, v in ours["sweep"].items() if k not in new}
    theirs = what_counts(older)
    assert (theirs["steps"], theirs["sweep"]["ranges"]) == (0, "paper")
    assert theirs != what_counts(ours)
    paper = Experiment(search="sweep", sweep=Sweep(ranges="paper")).to_dict()
    assert theirs == what_counts(paper)


def test_options_that_nobody_set_are_left_to_their_owner():
    assert options_of(Experiment().frontend) == {}
    config = default_config()
    config.frontend.target_frames = 512
    settings = Experiment.from_dict(config.to_dict())
    assert options_of(settings.frontend) == {"target_frames": 512}


def test_several_probes_are_separated_by_commas():
    assert changed(probes="linear, protobin,").probe_names == ("linear", "protobin")


@pytest.mark.parametrize(
    ("given", "fold"),
    [
        ({}, None),
        ({"folds": "groups"}, 0),
        ({"folds": "5"}, 0),
        ({"folds": "5", "test_fold": 3}, 3),
        ({"test_fold": 0}, 0),
    ],
)
def test_who_asks_for_folds_tests_on_all_of_them(given, fold):
    settings = Experiment.from_dict({"dataset_options": given})
    assert settings.dataset_options.fold_to_test == fold
