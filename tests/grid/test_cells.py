import pytest

from unmute_jax.errors import InputError
from unmute_jax.grid.cells import Grid, chosen, default_grid


def made(**values):
    config = default_grid()
    with config.unlocked():
        for key, value in values.items():
            config[key] = value
    return Grid.from_dict(config.to_dict())


def names(**values):
    return [cell.name for cell in made(**values).cells()]


def test_a_grid_has_a_cell_for_every_combination_and_shares_tokens():
    found = made(encoders="eat,beats", datasets="esc50,sc2", probes="linear,mhca")
    cells = found.cells()
    assert len(cells) == 8
    pairs = [cell.pair for cell in cells]
    assert pairs == sorted(pairs, key=pairs.index)
    assert pairs[:2] == [("eat", "esc50")] * 2
    assert cells[0].settings.probes == "linear"
    assert cells[-1].settings.encoder == "beats"


def test_weights_places_and_options_follow_an_at():
    grid = made(
        encoders="eat@untrained,my_module:Mine@/w/a@b.pt",
        datasets="esc50@/data/ESC,folder:/my@birds",
        probes="mhca@num_heads=8,mlp@activation=relu@hidden_layers=2",
    )
    first, *_, last = (cell.settings for cell in grid.cells())
    assert (first.encoder, first.weights) == ("eat", "untrained")
    assert (first.dataset, first.data_dir) == ("esc50", "/data/ESC")
    assert (last.encoder, last.weights) == ("my_module:Mine", "/w/a@b.pt")
    assert (last.dataset, last.data_dir) == ("folder:/my@birds", "")
    assert first.probe_options.num_heads == 8
    assert last.probe_options.hidden_layers == 2
    assert grid.cells()[0].name == "eat@untrained-esc50-mhca@num_heads=8"
    assert "/" not in grid.cells()[-1].folder


def test_layers_are_named_or_numbered():
    probes = "linear,linear@layers=last,linear@layers=0,stats@layers=-1,mhca@layers=all"
    grid = made(probes=probes)
    layers = [cell.settings.probe_options.layers for cell in grid.cells()]
    assert layers == [None, "0", "-1", "all"]
    assert grid.cells()[2].name == "logmel-esc_mix-stats@layers=-1"


@pytest.mark.parametrize("kind", ["folder", "csv", "annotations", "hf", "wds"])
def test_a_place_may_contain_the_sign_that_adds_details(kind):
    grid = made(datasets=f"{kind}:/my@birds")
    assert {cell.settings.dataset for cell in grid.cells()} == {f"{kind}:/my@birds"}


def test_equal_settings_are_the_same_cell_however_they_are_written():
    shared = made(probe_options={"prototypes_per_class": 5}, probes="linear,protobin")
    alone = made(probes="linear,protobin@prototypes_per_class=5,protobin")
    ours, theirs = shared.cells(), alone.cells()
    assert [c.folder for c in ours] == [c.folder for c in theirs[:2]]
    # Twenty is the default of protobin.
    usual = names(probes="protobin,protobin@prototypes_per_class=20")
    assert usual == ["logmel-esc_mix-protobin"]


def test_the_place_of_the_files_makes_no_other_cell():
    here, there = made(datasets="esc50@/a"), made(datasets="esc50@/b")
    assert [c.folder for c in here.cells()] == [c.folder for c in there.cells()]


def test_a_data_set_has_settings_of_its_own_and_a_probe_has_options_everywhere():
    grid = made(
        datasets="as20k,urban",
        probes="protobin,protobin@prototypes_per_class=3",
        for_datasets={"as20k": {"probe_options": {"prototypes_per_class": 10}}},
    )
    counts = [cell.settings.probe_options.prototypes_per_class for cell in grid.cells()]
    assert counts == [10, 3, None, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoders": " , "}, r"config\.encoders is empty"),
        ({"probes": "protobim"}, "did you mean 'protobin'"),
        ({"probes": "linear@num_heads=2"}, "option of probe 'linear'"),
        ({"probes": "mhca@8"}, "mhca@OPTION=VALUE"),
        ({"probes": "proto@reading=shared@classifier=block"}, "has classifier='dense'"),
        ({"probes": "mhca@num_heads=x"}, r"^mhca@num_heads='x': must be a whole numb"),
        (
            {"probes": "mhca@num_heads=2147483648"},
            r"^mhca@num_heads=2147483648: must b",
        ),
        ({"probes": "proto@top_k=true"}, r"^proto@top_k=True: must be a whole number"),
        ({"probes": "proto@penalty_weight=NaN"}, r"^proto@penalty_weight=nan: must be"),
        ({"probes": "knn@temperature=-1"}, r"^knn@temperature=-1: must be a number"),
        ({"probes": "linear@input=[1]"}, r"^linear@input=\[1\]: must be cls, mean"),
        ({"probe_options": {"top_k": 0}}, r"^config\.probe_options\.top_k=0: must be"),
        ({"encoder_options": {"depth": 0}}, r"^config\.encoder_options\.depth=0: must"),
        (
            {"for_datasets": {"esc50": 3}},
            r"^config\.for_datasets\.esc50=3: must be opt",
        ),
        (
            {"for_datasets": {"esc50": {"probe_options": 3}}},
            r"probe_options=3: must be ",
        ),
        ({"for_datasets": {"as2k": {}}}, "did you mean 'as20k'"),
        ({"encoders": "logmel,eta@untrained"}, "unknown encoder 'eta'.*'eat'"),
        ({"datasets": "esc50,esc5@/data"}, "unknown dataset 'esc5'.*'esc50'"),
        ({"dataset": "esc50"}, "did you mean 'datasets'"),
        ({"epoch": 3}, r"did you mean 'config\.epochs'"),
        ({"epochs": 0}, r"config\.epochs=0"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(values, message):
    with pytest.raises(InputError, match=message) as caught:
        made(**values)
    assert "\n" not in str(caught.value)


def test_a_config_of_one_experiment_is_no_grid():
    with pytest.raises(InputError, match="`unmute train` runs"):
        Grid.from_dict({"dataset": "esc50"})


def test_patterns_choose_cells_by_name():
    cells = made(encoders="eat,beats", datasets="esc50,sc2").cells()
    assert {c.encoder for c in chosen(cells, ["eat-*"], [])} == {"eat"}
    left = chosen(cells, ["eat-*", "*-sc2-*"], ["*-protobin"])
    assert [c.name for c in left] == [
        "eat-esc50-linear",
        "eat-sc2-linear",
        "beats-sc2-linear",
    ]
    with pytest.raises(InputError, match=r"no cell is called 'aet-\*'"):
        chosen(cells, ["aet-*"], [])
