"""Writes folders of tables as the library `datasets` and the hub write them."""

from tests.datasets.layouts import encoded, seed_of


def sound(name, seconds=0.05, rate=16_000, kind="FLAC"):
    """Returns what a row of audio holds: an encoded file and its name."""
    return {"bytes": encoded(seed_of(name), rate, seconds, kind), "path": name}


def sounds(count, prefix="clip"):
    """Returns different sounds for some rows."""
    return [sound(f"{prefix}{i}.flac") for i in range(count)]


def hub_dataset(columns, **features):
    """Returns a `datasets.Dataset`.

    Args:
        columns: Values of each column, among them `audio`.
        **features: Features of the other columns.
    """
    import datasets

    plain = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    every = datasets.Features({"audio": plain, **features})
    made = datasets.Dataset.from_dict(columns, features=every)
    # The library encodes audio with torchcodec, but takes what is encoded already.
    return made.cast_column("audio", datasets.Audio(decode=False))


def two_classes(count, prefix="clip", **more):
    """Returns a data set with the classes "on" and "off" by turns."""
    from datasets import ClassLabel

    labels = [i % 2 for i in range(count)]
    names = ClassLabel(names=["on", "off"])
    columns = {"audio": sounds(count, prefix), "label": labels}
    extra = {name: values for name, (values, _) in more.items()}
    features = {name: feature for name, (_, feature) in more.items()}
    return hub_dataset(columns | extra, label=names, **features)


def push(folder, splits, config="default", shards=1, has_card=True):
    """Writes what `push_to_hub` of `datasets` uploads.

    Args:
        folder: Folder of the data set.
        splits: A `datasets.Dataset` for each split.
        config: Name of the configuration, whose tables lie in a folder of this name.
        shards: Number of tables of a split.
        has_card: Whether to write README.md.
    """
    import datasets
    import huggingface_hub
    from datasets.utils.metadata import MetadataConfigs

    below = "data" if config == "default" else config
    (folder / below).mkdir(parents=True, exist_ok=True)
    for split, made in splits.items():
        for i in range(shards):
            name = f"{below}/{split}-{i:05d}-of-{shards:05d}.parquet"
            made.shard(shards, i, contiguous=True).to_parquet(folder / name)
    if not has_card:
        return folder
    path = folder / "README.md"
    card = (
        huggingface_hub.DatasetCard(path.read_text())
        if path.exists()
        else huggingface_hub.DatasetCard("---\nlicense: cc-by-4.0\n---\n")
    )
    first = next(iter(splits.values()))
    infos = datasets.info.DatasetInfosDict({config: first.info})
    infos.to_dataset_card_data(card.data)
    files = [{"split": s, "path": f"{below}/{s}-*"} for s in splits]
    MetadataConfigs({config: {"data_files": files}}).to_dataset_card_data(card.data)
    path.write_text(str(card))
    return folder
