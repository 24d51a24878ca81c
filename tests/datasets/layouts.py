"""Writes miniatures of the published layouts, with all of their irregularities."""

import io
import shutil
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf


def write(path, seed, rate=16_000, seconds=0.2):
    """Writes noise in the format of the suffix and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    sf.write(path, rng.uniform(-0.5, 0.5, round(seconds * rate)), rate)
    return path


def seed_of(text):
    """Returns a seed for each name, so that no two clips are alike."""
    return list(text.encode())


def text(path, *lines, end="\n"):
    """Writes a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())


def tar(folder, archive):
    """Packs the contents of a folder, not the folder itself."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as packed:
        for path in sorted(folder.iterdir()):
            packed.add(path, f"./{path.name}")
    return archive


def fsdd(root):
    """Every digit in all splits, clips of 0.14 s, and a file with another name."""
    root = root / "free-spoken-digit-dataset-master"
    for digit in range(10):
        for index in (0, 4, 5, 9, 10, 49):
            name = f"{digit}_jackson_{index}.wav"
            seconds = 0.14 if index == 10 else 0.2
            write(root / "recordings" / name, seed_of(name), 8000, seconds)
    write(root / "recordings" / "split.wav", 1, 8000)
    text(root / "README.md", "# Free Spoken Digit Dataset")
    return root


WORDS = (
    "backward bed bird cat dog down eight five follow forward four go happy house "
    "learn left marvin nine no off on one right seven sheila six stop three tree two "
    "up visual wow yes zero"
).split()


def sc2(root):
    """Three clips of every word, short clips, and lists with CRLF and lost clips."""
    root = root / "speech_commands_v0.02"
    for word in WORDS:
        for speaker in ("00a1", "11b2", "22c3"):
            name = f"{word}/{speaker}_nohash_0.wav"
            seconds = 0.51 if speaker == "22c3" and word == "bed" else 0.1
            write(root / name, seed_of(name), seconds=seconds)
    lists = {"validation": "11b2", "testing": "22c3"}
    for kind, speaker in lists.items():
        lines = [f"{word}/{speaker}_nohash_{n}.wav" for word in WORDS for n in (0, 7)]
        text(root / f"{kind}_list.txt", *lines, end="\r\n")
    write(root / "_background_noise_" / "running_tap.wav", 1, seconds=1.6)
    write(root / "_background_noise_" / "pink_noise.wav", 2, seconds=2.2)
    text(root / "_background_noise_" / "README.md", "Noise")
    text(root / "LICENSE", "CC BY")
    return root


def sc2_twelve(root):
    """Two archives in one folder that share names, and long recordings of noise."""
    place = root / "archives"
    tar(sc2(root), place / "speech_commands_v0.02.tar.gz")
    test = root / "test"
    for word in "down go left no off on right stop up yes _silence_ _unknown_".split():
        write(test / word / "0ff.wav", seed_of(f"test {word}"), seconds=0.1)
    tar(test, place / "speech_commands_test_set_v0.02.tar.gz")
    return place


def fsd50k(root):
    """Three classes; dev in a folder, eval in a zip beside it.

    Quoted labels with commas, CRLF, parentheses, a known broken clip, a repeated row,
    and clips of 0.2 s and of 10.2 s.
    """
    folder = "FSD50K.ground_truth"
    text(
        root / folder / "vocabulary.csv",
        "0,Crowd_(people),/m/03qtwd",
        "1,Accelerating_and_revving_and_vroom,/m/07q2z82",
        "2,Hi-hat,/m/03qtq",
        end="\r\n",
    )
    text(
        root / folder / "dev.csv",
        "fname,labels,mids,split",
        '64760,"Hi-hat,Crowd_(people)","/m/03qtq,/m/03qtwd",train',
        '16399,"Hi-hat","/m/03qtq",train',
        '16399,"Hi-hat","/m/03qtq",train',
        '83299,"Hi-hat","/m/03qtq",train',
        '34,"Accelerating_and_revving_and_vroom","/m/07q2z82",val',
        end="\r\n",
    )
    text(
        root / folder / "eval.csv",
        "fname,labels,mids",
        '37199,"Crowd_(people), Hi-hat","/m/03qtwd,/m/03qtq"',
        '175151,"Hi-hat","/m/03qtq"',
    )
    for name, seconds in (("64760", 0.3), ("16399", 10.2), ("83299", 0.1), ("34", 1.0)):
        path = root / "FSD50K.dev_audio" / f"{name}.wav"
        write(path, seed_of(name), 44_100, seconds)
    packed = root / "packed" / "FSD50K.eval_audio"
    for name in ("37199", "175151"):
        write(packed / f"{name}.wav", seed_of(name), 44_100, 0.2)
    with zipfile.ZipFile(root / "whole.eval_audio.zip", "w") as archive:
        for path in sorted(packed.iterdir()):
            archive.write(path, f"FSD50K.eval_audio/{path.name}")
            path.unlink()
    return root


def urban(root):
    """Annotations with tabs, spaces, CRLF, blank lines, a class twice, or nothing.

    One soundscape has no annotation.
    """
    root = root / "URBAN-SED_v2.0.0"
    lines = {
        "uniform0": ["0.05\t0.2\tsiren", "0.1\t0.3\tdog_bark", "0.0\t0.1\tsiren"],
        "bimodal1": ["0.0 0.25 air_conditioner", ""],
    }
    for split in ("train", "validate", "test"):
        for which, events in lines.items():
            name = f"soundscape_{split}_{which}"
            write(root / "audio" / split / f"{name}.wav", seed_of(name), 44_100, 0.3)
            end = "\r\n" if which == "bimodal1" else "\n"
            text(root / "annotations" / split / f"{name}.txt", *events, end=end)
            text(root / "annotations" / split / f"{name}.jams", "{}")
    text(root / "annotations" / "test" / "soundscape_test_unimodal2.txt")
    write(root / "audio" / "test" / "soundscape_test_unimodal2.wav", 5, 44_100)
    write(root / "audio" / "train" / "soundscape_train_uniform9.wav", 6, 44_100)
    text(root / "FREESOUNDCREDITS.txt", "Thanks")
    return root


SCENES = ("Market", "Park", "Square", "Street", "Waterfront")


def spass(root):
    """Twenty files per scene with spaces in their names, some not of the usual length.

    The tables have a row per source, quotes in columns that are not read, and CRLF.
    """
    for number, scene in enumerate(SCENES, start=1):
        rows = ["id,audio_filename,class,start_time,x"]
        for i in range(20, 0, -1):
            name = f"{scene.lower()}{i:05d}.wav"
            rows += [
                f'{i},{name},{c},"0,1",3' for c in ("bird", "talk", "talk")[i % 3 :]
            ]
            if scene == "Waterfront":
                rows.append(f"{i},{name},Vwater,2.5,3")
            lengths = {"street00003.wav": 0.05, "street00004.wav": 10.3}
            place = root / f"{scene} audio files" / name
            write(place, seed_of(name), 44_100, lengths.get(name, 0.1))
        table = root / "SPASS_META_DATA" / f"{number}_MatrixLabels{scene}.csv"
        text(table, *rows, end="\r\n")
    return root


def encoded(seed, rate, seconds, kind="FLAC"):
    """Returns the bytes of an audio file with noise."""
    x = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate))
    data = io.BytesIO()
    sf.write(data, x, rate, format=kind)
    return data.getvalue()


# A label with a comma in its name, one with quotes around the list, one alone.
SPEECH, MAN, DOG = "/m/09x0r", "/m/05zppz", "/m/0bt9lr"


def as20k(root):
    """Two tables per split in groups of two rows.

    Rates from 16 to 48 kHz, clips of 0.2 s and of 10.1 s, and a label twice.
    """
    counts = {"bal_train": (5, 5), "eval": (2, 1)}
    for folder, sizes in counts.items():
        for number, size in enumerate(sizes):
            names = [f"{folder[0]}-_{number}{i}PJHxphW"[:11] for i in range(size)]
            seconds = [10.1 if name == "b-_00PJHxph" else 0.2 for name in names]
            rates = [48_000, 44_100, 22_050, 48_000, 16_000][:size]
            sounds = [
                {"bytes": encoded(seed_of(n), r, s), "path": f"{n}.flac"}
                for n, r, s in zip(names, rates, seconds, strict=True)
            ]
            labels = [[MAN, SPEECH], [DOG], [SPEECH], [DOG, DOG], [SPEECH]][:size]
            table = pa.table(
                {"video_id": names, "audio": sounds, "labels": labels}
                | {"human_labels": labels}
            )
            path = root / "data" / folder / f"{number:02d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, row_group_size=2)
    text(root / "README.md", "AudioSet")
    return root


def as20k_segments(root):
    """Google's tables, and audio of some videos under several kinds of names.

    Comments, quoted labels with commas after a space, lost videos, ids that begin with
    Y or a dash, and spaces in folders.
    """
    names = {
        "train": [
            "--PJHxphWEs.wav",
            "sub dir/Y--ZhevVpy1s_50.000.flac",
            "Y12345_-abc.wav",
        ]
        + [f"train{i}_0123.wav" for i in range(5)],
        "eval": ["-0RWZT-miFs.wav"],
    }
    for name in [name for files in names.values() for name in files]:
        write(root / "audio" / name, seed_of(name), 22_050)
    head = [
        "# Segments csv created Sun Mar  5 10:54:31 2017",
        "# num_ytids=3, num_segs=3",
    ]
    head.append("# YTID, start_seconds, end_seconds, positive_labels")
    text(
        root / "balanced_train_segments.csv",
        *head,
        f'--PJHxphWEs, 30.000, 40.000, "{SPEECH},{MAN}"',
        f'--ZhevVpy1s, 50.000, 60.000, "{DOG}"',
        f'--aE2O5G5WE, 0.000, 10.000, "{DOG}"',
        f'Y12345_-abc, 0.000, 10.000, "{DOG}"',
        *(f'train{i}_0123, 0.000, 10.000, "{SPEECH},{DOG}"' for i in range(5)),
    )
    text(
        root / "eval_segments.csv", *head, f'-0RWZT-miFs, 420.000, 430.000, "{SPEECH}"'
    )
    return root


def ogg(path, seed, seconds):
    """Writes an Ogg file, as BirdSet has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(seed, 32_000, seconds, "OGG"))


# Name, species, seconds, other species, events with their clusters.
FOCAL = [
    ("XC1.ogg", "gcrfin", 12, [], [(1.0, 2.0, 0), (8.0, 9.0, 0), (3.0, 4.0, -1)]),
    ("XC2.ogg", "gcrfin", 4, ["whcspa"], [(0.5, 1.0, 0)]),
    ("XC3.ogg", "gcrfin", 18, [], []),
    ("XC4.ogg", "gcrfin", 25, [], [(0.0, 24.0, 1), (2.0, 3.0, 1)]),
    ("XC5.ogg", "whcspa", 9, [], [(7.5, 8.5, -1)]),
    ("XC6.ogg", "whcspa", 3, [], [(0.0, 0.4, 2), (1.0, 1.2, 2)]),
    ("XC7.ogg", "whcspa", 12, ["amepip"], [(6.0, 6.5, 0)]),
    ("XC8.ogg", "amepip", 30, [], [(10.0, 11.0, 0)]),
    ("XC9.ogg", "amepip", 5, ["unknown1"], None),
    ("XC10.ogg", "amepip", 6, [], [(1.0, 2.0, 0)]),
]


def birdset(root):
    """Ten recordings, one of them lost, in archives with different folders.

    No events, noise, events inside others, a species that is no class, and a window
    without a bird.
    """
    root = root / "HSN"
    rows = []
    for name, species, seconds, others, events in FOCAL:
        rows.append(
            {
                "filepath": f"HSN/{name}",
                "ebird_code": species,
                "ebird_code_multilabel": [species, *others],
                "ebird_code_secondary": others,
                "length": seconds,
                "detected_events": events and [[a, b] for a, b, _ in events],
                "event_cluster": events and [cluster for _, _, cluster in events],
            }
        )
        if name != "XC10.ogg":
            shard = "HSN_train_shard_0001" if len(rows) < 6 else "HSN_train_shard_0002"
            ogg(root / shard / shard / name, seed_of(name), seconds)
    pq.write_table(pa.Table.from_pylist(rows), root / "HSN_metadata_train.parquet")
    windows = {"HSN_001_000_005.ogg": ["whcspa", "gcrfin"], "HSN_001_005_010.ogg": []}
    table = {"filepath": list(windows), "ebird_code_multilabel": list(windows.values())}
    path = root / "HSN_metadata_test_5s.parquet"
    pq.write_table(pa.table(table), path)
    for name in windows:
        ogg(root / "HSN_test5s_shard_0001" / name, seed_of(name), 5)
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        tar(folder, root / f"{folder.name}.tar.gz")
        shutil.rmtree(folder)
    return root


STRONG = "filename\tonset\toffset\tevent_label"


def desed(root):
    """A synthetic, a weak, a strong and an unlabelled list, and a public evaluation.

    Silent clips, a clip in a weak and in a strong list, a list whose folder has another
    name, lost videos, equal names in two lists, and an event that ends too early.
    """

    def audio(subset, *names):
        for name in names:
            write(root / "audio" / subset / name, seed_of(name + subset), seconds=0.3)

    def table(subset, *lines):
        text(root / "metadata" / f"{subset}.tsv", *lines)

    train = "train/synthetic21_train/soundscapes"
    audio(train, "0.wav", "1.wav", "2.wav", "3.wav", "4.wav")
    table(
        train,
        STRONG,
        "0.wav\t0.0\t0.2\tSpeech",
        "0.wav\t0.1\t0.25\tAlarm_bell_ringing",
        "0.wav\t0.2\t0.1\tDog",
        "1.wav\t0.0\t0.5\tFrying",
        "2.wav\t0.0\t0.2\tCat",
        "3.wav\t0.0\t0.2\tSpeech",
        "4.wav\t0.0\t0.2\tSpeech",
    )
    first, second, fifth, gone = (
        f"Y{video}_350.000_360.000.wav"
        for video in ("00pbt6aJV8Y", "-AbCdEfGhI_", "55pbt6aJV8Y", "0000gone000")
    )
    audio("train/weak", first, second)
    table(
        "train/weak",
        "filename\tevent_labels",
        f"{first}\tSpeech,Dishes",
        f"{second}\tDog",
        f"{gone}\tCat",
    )
    audio("train/strong_label_real", fifth)
    strong = (f"{second}\t0.1\t0.2\tDog", f"{fifth}\t0.0\t0.1\tCat")
    table("train/audioset_strong", STRONG, *strong)
    table("train/unlabel_in_domain", "filename", first)
    third = "Y11pbt6aJV8Y_0.000_10.000.wav"
    audio("validation/validation", third)
    table("validation/validation", STRONG, f"{third}\t\t\t")
    audio("validation/synthetic21_validation/soundscapes", "0.wav")
    table(
        "validation/synthetic21_validation/soundscapes",
        STRONG,
        "0.wav\t0.0\t0.1\tBlender",
    )
    fourth = "Y22pbt6aJV8Y_0.000_10.000.wav"
    audio("eval/public", fourth)
    table("eval/public", STRONG, f"{fourth}\t0.0\t0.1\tVacuum_cleaner")
    return root


def desed_fl(root):
    """The assumed layout, without irregularities."""
    for split, clips in (("train", 8), ("test", 3)):
        lines = [STRONG]
        for i in range(clips):
            write(root / "audio" / split / f"{i}.wav", [i, clips], seconds=0.3)
            lines.append(f"{i}.wav\t0.0\t0.2\t{('Speech', 'Dog')[i % 2]}")
        text(root / "metadata" / f"{split}.tsv", *lines)
    return root
