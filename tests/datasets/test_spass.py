from tests.datasets.miniatures import MINIATURES, by_id, class_names, clips, refusal


def test_every_scene_is_split_in_the_order_of_names(loaded):
    dataset = loaded("spass")
    assert len(dataset.classes) == 33
    found = clips(dataset)
    parks = {s: [c.id for c in found[s] if c.id.startswith("park")] for s in found}
    assert parks["train"] == [f"park{i:05d}" for i in range(1, 15)]
    assert parks["validation"] == ["park00015"]
    assert parks["test"] == [f"park{i:05d}" for i in range(16, 21)]
    assert class_names(dataset, by_id(dataset)["park00003"]) == {"bird", "talk"}
    assert class_names(dataset, by_id(dataset)["park00002"]) == {"talk"}
    assert dataset.clip_seconds == 10.0
    assert any("28" in note for note in dataset.notes)


def test_a_scene_has_its_own_classes(loaded):
    dataset = loaded("spass/waterfront")
    assert len(dataset.classes) == 29
    clip = by_id(dataset)["waterfront00001"]
    assert class_names(dataset, clip) == {"talk", "Vwater"}


def test_classes_and_folders_of_a_scene_are_checked(tmp_path):
    place = MINIATURES["spass"].make(tmp_path)
    market = place / "SPASS_META_DATA" / "1_MatrixLabelsMarket.csv"
    market.write_bytes(market.read_bytes().replace(b"bird", b"Vwater"))
    assert "'Vwater'" in refusal("spass/market", data_dir=place)
    for path in (place / "Park audio files").iterdir():
        path.unlink()
    message = refusal("spass", data_dir=place)
    assert "no Park?audio?files/*.wav" in message
