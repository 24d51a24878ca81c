"""Lists the published weights: which files there are, and where."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of published weights, and the places that have it.

    Attributes:
        name: Name of the weights, and of their folder or file in the cache.
        encoders: Registry names of the encoders that may load them.
        default_of: Registry name of the encoder that loads them by default.
        licence: Licence of the weights.
        hub: Repository on Hugging Face with `model.safetensors` and `config.json`.
        url: Address of a single torch file.
        sha256: SHA-256 of the file at `url`, if it is known.
        hub_sha256: SHA-256 of the weights in `hub`, when they were last seen.
        megabytes: Size of the download in MB, of that from `hub` if there is one.
        drive_id: Identifier on Google Drive of a torch file to download by hand.
        drive_name: Name of that file, if it is known.
        drive_is_folder: Whether `drive_id` is of the folder in `drive_name`.
        page: Page that links the file, if there is no address of the file itself.
        note: What else to know about the file.
    """

    name: str
    encoders: tuple[str, ...]
    default_of: str | None = None
    licence: str
    hub: str | None = None
    url: str | None = None
    sha256: str | None = None
    hub_sha256: str | None = None
    megabytes: int | None = None
    drive_id: str | None = None
    drive_name: str | None = None
    drive_is_folder: bool = False
    page: str | None = None
    note: str | None = None


def _eat(
    name: str,
    drive_id: str,
    *,
    default_of: str | None = None,
    drive_name: str | None = None,
    megabytes: int | None = None,
    hub_sha256: str | None = None,
) -> PublishedFile:
    """A row of the README of github.com/cwx-worst-one/EAT, commit 06c1c34."""
    return PublishedFile(
        name=name,
        encoders=("eat", "eat+"),
        default_of=default_of,
        licence="MIT",
        hub=f"worstchan/{name}" if megabytes else None,
        hub_sha256=hub_sha256,
        megabytes=megabytes,
        drive_id=drive_id,
        drive_name=drive_name,
    )


def _beats(
    name: str,
    *,
    default_of: str | None = None,
    copy: str | None = None,
    sha256: str | None = None,
) -> PublishedFile:
    """A row of the README of github.com/microsoft/unilm/tree/master/beats."""
    return PublishedFile(
        name=name,
        encoders=("beats", "beats+"),
        default_of=default_of,
        licence="MIT",
        url=f"https://huggingface.co/{copy}/resolve/main/{name}.pt" if copy else None,
        sha256=sha256,
        megabytes=363 if "finetuned" in name else 361,
        page="https://github.com/microsoft/unilm/tree/master/beats",
        note="a copy by others: the links of the authors are often dead"
        if copy
        else None,
    )


def _dasheng(
    name: str,
    megabytes: int,
    *,
    record: int = 11511780,
    default_of: str | None = None,
    hub: str | None = None,
) -> PublishedFile:
    """A file that github.com/RicherMans/Dasheng, commit db73093, loads from Zenodo."""
    return PublishedFile(
        name=name,
        encoders=("dasheng", "dasheng+"),
        default_of=default_of,
        licence="Apache-2.0",
        hub=hub,
        url=f"https://zenodo.org/records/{record}/files/{name}.pt?download=1",
        megabytes=megabytes,
    )


def _aves2(
    name: str, encoder: str, *, is_default: bool = False, note: str = ""
) -> PublishedFile:
    """A repository of huggingface.co/EarthSpeciesProject, as avex 1.4.0 lists it."""
    return PublishedFile(
        name=name,
        encoders=(encoder,),
        default_of=encoder if is_default else None,
        licence="CC BY-NC-SA",
        url=f"https://huggingface.co/EarthSpeciesProject/{name}/resolve/main/"
        f"{name}.safetensors",
        note=f"not verified here{note}",
    )


def _openbeats(name: str, *, default_of: str | None = None) -> PublishedFile:
    """A repository of huggingface.co/shikhar7ssu, as openbeats 0.1.1 lists it."""
    return PublishedFile(
        name=name,
        encoders=("openbeats",),
        default_of=default_of,
        licence="none found",
        url=f"https://huggingface.co/shikhar7ssu/{name}/resolve/main/epoch_latest.pt",
        note="not verified here; some repositories name the file otherwise",
    )


def _ast(
    name: str, authors: str, *, megabytes: int = 346, default_of: str | None = None
) -> PublishedFile:
    """A repository of huggingface.co/MIT. Its files were not opened here."""
    return PublishedFile(
        name=name,
        encoders=("ast",),
        default_of=default_of,
        licence="BSD-3-Clause",
        hub=f"MIT/{name}",
        megabytes=megabytes,
        note=f"not verified here; {authors} of the authors, whose epsilons differ",
    )


def _whisper(size: str, megabytes: str, sha256: str) -> PublishedFile:
    """A repository of huggingface.co/openai, and the same weights from OpenAI.

    The hub's files were not opened here.
    """
    file = "large-v1" if size == "large" else size
    return PublishedFile(
        name=f"whisper-{size}",
        encoders=("whisper",),
        default_of="whisper" if size == "base" else None,
        licence="MIT",
        hub=f"openai/whisper-{size}",
        url=f"https://openaipublic.azureedge.net/main/whisper/models/{sha256}/{file}.pt",
        sha256=sha256,
        megabytes=int(megabytes),
        note="not verified here; the file holds the decoder too",
    )


# The size on the hub in MB, and the SHA-256 of the file of OpenAI, which is a part of
# its address (`_MODELS` in openai-whisper 20250625).
_WHISPER = """
tiny 151 65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9
tiny.en 151 d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03
base 290 ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e
base.en 290 25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead
small 967 9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794
small.en 967 f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872
medium 3055 345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1
medium.en 3055 d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f
large 6173 e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a
large-v2 6173 81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524
large-v3 3087 e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb
large-v3-turbo 1618 aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a
"""

PUBLISHED = (
    _eat(
        "EAT-base_epoch30_pretrain",
        "19hfzLgHCkyqTOYmHt8dqVa9nm-weBq4f",
        default_of="eat",
        drive_name="EAT-base_epoch30_pt.pt",
        megabytes=360,
        hub_sha256="8623072d09aac4f3ad1168b4fed3a24e4f68fe1da25b9fe733375efb237e5f48",
    ),
    _eat(
        "EAT-base_epoch30_finetune_AS2M",
        "1aCYiQmoZv_Gh1FxnR-CCWpNAp6DIJzn6",
        default_of="eat+",
        drive_name="EAT-base_epoch30_ft.pt",
        megabytes=362,
    ),
    _eat(
        "EAT-large_epoch20_pretrain",
        "1PEgriRvHsqrtLzlA478VemX7Q0ZGl889",
        megabytes=1235,
    ),
    _eat(
        "EAT-large_epoch20_finetune_AS2M",
        "1b_f_nQAdjM1B6u72OFUtFiUu-4yM2shd",
        megabytes=1238,
    ),
    _eat(
        "EAT-base_epoch10_pretrain",
        "10pklbY_fKraQUIBizSg1kv4lJXNWxpxl",
        drive_name="EAT-base_epoch10_pt.pt",
    ),
    _eat("EAT-base_epoch10_finetune_AS2M", "1F07zN8N54rXU-szvKUlYaCFMCepc4wHR"),
    _eat("EAT-base_epoch10_finetune_AS20K", "1fRX_Mgj4sHxV2F6AVfoqXObfgzFMnHRA"),
    # The README of github.com/ta012/SSLAM, commit 0a3c0ff.
    PublishedFile(
        name="SSLAM_pretrain",
        encoders=("sslam", "sslam+"),
        default_of="sslam",
        licence="MIT",
        hub="ta012/SSLAM_pretrain",
        hub_sha256="8ec670adb241c710422ddd894ff1bade142ef0b25cf1ee68577aa45f89432298",
        megabytes=360,
        drive_id="1aA65-qQCHSCrkiDeLGUtn1PiEjJi5HS8",
        drive_name="SSLAM_Pretrained/checkpoint_last.pt",
        drive_is_folder=True,
    ),
    PublishedFile(
        name="SSLAM_AS2M_Finetuned",
        encoders=("sslam", "sslam+"),
        default_of="sslam+",
        licence="MIT",
        hub="ta012/SSLAM_AS2M_Finetuned",
        megabytes=362,
        drive_id="1Yy38IyksON5RJFNM7gzeQoAOSPnEIKp2",
        drive_name="SSLAM_AS2M_Finetuned/checkpoint_best.pt",
        drive_is_folder=True,
    ),
    # The README of github.com/facebookresearch/AudioMAE, commit of 2023-05-13.
    PublishedFile(
        name="AudioMAE_AS2M_pretrained",
        encoders=("audiomae", "audiomae+"),
        default_of="audiomae",
        licence="CC BY-NC 4.0",
        url="https://huggingface.co/gaunernst/"
        "vit_base_patch16_1024_128.audiomae_as2m/resolve/main/pytorch_model.bin",
        megabytes=343,
        note="a copy by others, made for timm",
        drive_id="1ni_DV4dRf7GxM8k-Eirx71WP9Gg89wwu",
    ),
    PublishedFile(
        name="AudioMAE_AS2M_finetuned",
        encoders=("audiomae", "audiomae+"),
        default_of="audiomae+",
        licence="CC BY-NC 4.0",
        drive_id="18EsFOyZYvBYHkJ7_n7JFFWbj6crz01gq",
    ),
    PublishedFile(
        name="AudioMAE_AS20K_finetuned",
        encoders=("audiomae", "audiomae+"),
        licence="CC BY-NC 4.0",
        url="https://huggingface.co/gaunernst/"
        "vit_base_patch16_1024_128.audiomae_as2m_ft_as20k/resolve/main/"
        "pytorch_model.bin",
        megabytes=343,
        note="a copy by others, made for timm: the list of the authors names no file "
        "that was fine-tuned on AudioSet-20K",
    ),
    # The README of github.com/Sara-Ahmed/ASiT, commit of 2024-03-10; no licence there.
    PublishedFile(
        name="ASiT_16kHz",
        encoders=("asit",),
        default_of="asit",
        licence="none stated by the authors",
        url="https://github.com/fschmid56/PretrainedSED/releases/download/v0.0.1/"
        "ASIT_ssl.pt",
        megabytes=342,
        note="a copy by others",
        drive_id="11eaOU40jonpYZ3u_XI-XUSSWclv8qeR7",
    ),
    _beats(
        "BEATs_iter3_plus_AS2M",
        default_of="beats",
        copy="datasets/Bencr/beats-checkpoints",
    ),
    _beats(
        "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2",
        default_of="beats+",
        copy="camenduru/beats",
        sha256="e5815275a04b6885e7b8af63d120b29bffae2cd2225cf4915e1ec6d819d3022c",
    ),
    *(
        _beats(f"BEATs_{base}{tuned}")
        for base in ("iter1", "iter2", "iter3", "iter3_plus_AS20K", "iter3_plus_AS2M")
        for tuned in ("", "_finetuned_on_AS2M_cpt1", "_finetuned_on_AS2M_cpt2")
        if not (base == "iter3_plus_AS2M" and tuned != "_finetuned_on_AS2M_cpt1")
    ),
    _dasheng("dasheng_base", 342, default_of="dasheng", hub="mispeech/dasheng-base"),
    _dasheng("dasheng_06b", 2521, hub="mispeech/dasheng-0.6B"),
    _dasheng("dasheng_12b", 4536, hub="mispeech/dasheng-1.2B"),
    _dasheng("dasheng_audioset_mAP497", 343, record=13315686, default_of="dasheng+"),
    *(
        PublishedFile(
            name=f"Bird-MAE-{size}",
            encoders=("bird_mae",),
            default_of="bird_mae" if size == "Base" else None,
            licence="none stated by the authors",
            hub=f"DBD-research-group/Bird-MAE-{size}",
            megabytes=megabytes,
            note="not verified here",
        )
        for size, megabytes in (("Base", 342), ("Large", 1211), ("Huge", 2521))
    ),
    *(
        _openbeats(
            f"OpenBEATs-{size}-i{i}",
            default_of="openbeats" if (size, i) == ("Base", 3) else None,
        )
        for size in ("Base", "Large")
        for i in (1, 2, 3)
    ),
    PublishedFile(
        name="BAT-vit-b16-pretrainedAS2M",
        encoders=("bat",),
        default_of="bat",
        licence="MIT (code; none stated for the weights)",
        hub="lrauch/BAT-vit-b16-pretrainedAS2M",
        megabytes=354,
        drive_id="1fJ3FA4HC9fICQkpkk5AmZOd4O2sseg30",
        drive_name="BAT_base.pt",
        note="not verified here",
    ),
    _aves2("esp-aves2-sl-beats-all", "aves2_beats", is_default=True),
    _aves2("esp-aves2-sl-beats-bio", "aves2_beats"),
    _aves2("esp-aves2-naturelm-audio-v1-beats", "aves2_beats"),
    _aves2(
        "esp-aves2-sed-birdcode-ablation-ssl-beats-clip-pseudo-encoder",
        "aves2_beats",
        note="; needs --config.frontend.recipe=32khz_as_16khz",
    ),
    _aves2("esp-aves2-eat-all", "aves2_eat"),
    _aves2("esp-aves2-eat-bio", "aves2_eat"),
    _aves2("esp-aves2-sl-eat-all-ssl-all", "aves2_eat", is_default=True),
    _aves2("esp-aves2-sl-eat-bio-ssl-all", "aves2_eat"),
    _ast(
        "ast-finetuned-audioset-10-10-0.4593",
        "audioset_10_10_0.4593.pth",
        default_of="ast",
    ),
    _ast("ast-finetuned-audioset-10-10-0.450", "audioset_10_10_0.4495.pth"),
    _ast("ast-finetuned-audioset-10-10-0.448", "audioset_10_10_0.4483.pth"),
    _ast("ast-finetuned-audioset-10-10-0.448-v2", "audioset_10_10_0.4475.pth"),
    _ast("ast-finetuned-audioset-12-12-0.447", "audioset_12_12_0.4467.pth"),
    _ast("ast-finetuned-audioset-14-14-0.443", "audioset_14_14_0.4431.pth"),
    _ast("ast-finetuned-audioset-16-16-0.442", "audioset_16_16_0.4422.pth"),
    _ast("ast-finetuned-speech-commands-v2", "speechcommands_10_10_0.9812.pth"),
    *(_whisper(*row.split()) for row in _WHISPER.strip().splitlines()),
)
