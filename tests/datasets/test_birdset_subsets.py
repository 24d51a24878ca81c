from unmute_jax.datasets.birdset_subsets import (
    SUBSETS,
    classes_of,
    few_shot_info,
    info_of,
)


def test_every_subset_has_its_published_classes():
    classes = {subset: classes_of(subset) for subset in SUBSETS}
    assert {subset: len(codes) for subset, codes in classes.items()} == {
        "HSN": 21,
        "POW": 48,
        "PER": 132,
        "NES": 89,
        "SNE": 56,
        "UHH": 27,
        "NBP": 51,
    }
    assert all(len(set(codes)) == len(codes) for codes in classes.values())


def test_all_tables_and_archives_of_a_subset_are_downloaded():
    names = [item.name for item in info_of("UHH").downloads]
    assert names[:2] == ["UHH_metadata_train.parquet", "UHH_metadata_test_5s.parquet"]
    assert names[2] == "UHH_train_shard_0001.tar.gz"
    assert names[6:] == ["UHH_train_shard_0005.tar.gz", "UHH_test5s_shard_0001.tar.gz"]


def test_the_protocol_of_few_shots_says_what_validates():
    info = info_of("HSN")
    assert few_shot_info(info, 64).name == "hsn/64shot"
    assert "a fifth of it validates" in few_shot_info(info, 3).protocol
    assert "one more per class validates" in few_shot_info(info, 2).protocol
