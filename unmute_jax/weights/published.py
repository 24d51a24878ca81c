"""The published weights: where they are, and how to get those on Hugging Face."""

from __future__ import annotations

import dataclasses
import http.client
import logging
import os
import pathlib
import shutil
import urllib.error
import urllib.request

from unmute_jax.caches import cache_dir
from unmute_jax.errors import InputError

_log = logging.getLogger(__name__)

# Hugging Face's own variable for mirrors.
ENDPOINT_VARIABLE = "HF_ENDPOINT"
_TIMEOUT = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One set of published weights.

    Attributes:
        name: Of the set, and of its folder in the cache.
        encoders: Registry names that may load it.
        default_of: The one that loads it when no file is named.
        licence: Of the weights.
        drive_id: On Google Drive: a fairseq file, to be fetched by hand.
        drive_name: What that file is called there, where this is known.
        drive_is_folder: Whether `drive_id` is of the folder that holds the file.
        hub: Repository on Hugging Face with `model.safetensors` and `config.json`.
        megabytes: Size of `model.safetensors`.
    """

    name: str
    encoders: tuple[str, ...]
    default_of: str | None = None
    licence: str
    drive_id: str
    drive_name: str | None = None
    drive_is_folder: bool = False
    hub: str | None = None
    megabytes: int | None = None


def _eat(
    name: str,
    drive_id: str,
    *,
    default_of: str | None = None,
    drive_name: str | None = None,
    megabytes: int | None = None,
) -> Published:
    """A row of the README of github.com/cwx-worst-one/EAT, commit 06c1c34."""
    return Published(
        name=name,
        encoders=("eat", "eat+"),
        default_of=default_of,
        licence="MIT",
        drive_id=drive_id,
        drive_name=drive_name,
        hub=f"worstchan/{name}" if megabytes else None,
        megabytes=megabytes,
    )


PUBLISHED = (
    _eat(
        "EAT-base_epoch30_pretrain",
        "19hfzLgHCkyqTOYmHt8dqVa9nm-weBq4f",
        default_of="eat",
        drive_name="EAT-base_epoch30_pt.pt",
        megabytes=360,
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
    Published(
        name="SSLAM_pretrain",
        encoders=("sslam", "sslam+"),
        default_of="sslam",
        licence="MIT",
        drive_id="1aA65-qQCHSCrkiDeLGUtn1PiEjJi5HS8",
        drive_name="SSLAM_Pretrained/checkpoint_last.pt",
        drive_is_folder=True,
        hub="ta012/SSLAM_pretrain",
        megabytes=360,
    ),
    Published(
        name="SSLAM_AS2M_Finetuned",
        encoders=("sslam", "sslam+"),
        default_of="sslam+",
        licence="MIT",
        drive_id="1Yy38IyksON5RJFNM7gzeQoAOSPnEIKp2",
        drive_name="SSLAM_AS2M_Finetuned/checkpoint_best.pt",
        drive_is_folder=True,
        hub="ta012/SSLAM_AS2M_Finetuned",
        megabytes=362,
    ),
    # The README of github.com/facebookresearch/AudioMAE, commit of 2023-05-13.
    Published(
        name="AudioMAE_AS2M_pretrained",
        encoders=("audiomae", "audiomae+"),
        default_of="audiomae",
        licence="CC BY-NC 4.0",
        drive_id="1ni_DV4dRf7GxM8k-Eirx71WP9Gg89wwu",
    ),
    Published(
        name="AudioMAE_AS2M_finetuned",
        encoders=("audiomae", "audiomae+"),
        default_of="audiomae+",
        licence="CC BY-NC 4.0",
        drive_id="18EsFOyZYvBYHkJ7_n7JFFWbj6crz01gq",
    ),
)


def find_weights(encoder: str, source: str | os.PathLike[str] | None) -> pathlib.Path:
    """The file that `source` means.

    Args:
        encoder: Registry name.
        source: A path, or the name of a published set; None, the encoder's default.

    Returns:
        The path itself, or the file of a published set in the cache: fetched from
        Hugging Face where it is missing there.

    Raises:
        InputError: The published set is not in the cache and cannot be fetched; says
            what to fetch by hand.
    """
    for entry in PUBLISHED:
        named = encoder in entry.encoders and str(source) == entry.name
        is_default = source is None and entry.default_of == encoder
        if is_default or (named and not pathlib.Path(entry.name).exists()):
            return _cached(entry) or _fetched(entry)
    if source is None:
        raise InputError(f"encoder {encoder!r} has no published default: name a file")
    return pathlib.Path(source)


def _cached(entry: Published) -> pathlib.Path | None:
    room = cache_dir("weights")
    names = [f"{entry.name}/model.safetensors", entry.drive_name, f"{entry.name}.pt"]
    files = [room / name for name in names if name]
    return next((file for file in files if file.is_file()), None)


def _fetched(entry: Published) -> pathlib.Path:
    """The files of the set from Hugging Face."""
    folder = cache_dir("weights") / entry.name
    if entry.hub is None:
        raise InputError(_by_hand(entry, "it is not on Hugging Face"))
    endpoint = os.environ.get(ENDPOINT_VARIABLE, "https://huggingface.co").rstrip("/")
    base = f"{endpoint}/{entry.hub}/resolve/main"
    size = f"{entry.megabytes} MB, licence {entry.licence}"
    _log.warning("fetching %s (%s) into %s", entry.hub, size, folder)
    try:
        # The config first: a folder with the weights in it is complete.
        fetch(f"{base}/config.json", folder / "config.json")
        fetch(f"{base}/model.safetensors", folder / "model.safetensors")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(_by_hand(entry, f"fetching failed: {reason}")) from error
    return folder / "model.safetensors"


def _by_hand(entry: Published, why: str) -> str:
    room = cache_dir("weights")
    ways = []
    if entry.hub:
        ways.append(
            f"model.safetensors and config.json from https://huggingface.co/{entry.hub}"
            f" into {room / entry.name}"
        )
    kind = "drive/folders/" if entry.drive_is_folder else "uc?id="
    drive = f"https://drive.google.com/{kind}{entry.drive_id}"
    ways.append(f"{drive} as {room / (entry.drive_name or f'{entry.name}.pt')}")
    return (
        f"the weights {entry.name} are not in the cache and {why}; download "
        f"{', or '.join(ways)}; or pass a file as source; or, without any weights, "
        'weights="untrained" (configs/quickstart.py)'
    )


def fetch(url: str, target: pathlib.Path) -> None:
    """Downloads `url` to `target`; takes up where an earlier try was cut off.

    The bytes go to `target` + ".part", which becomes `target` when it is whole.

    Raises:
        OSError: The server cannot be reached or refuses (`urllib.error.URLError`), or
            the connection broke.
    """
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        # Nothing lies behind what we have, so it is not the beginning of this file.
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            part.unlink()
            return fetch(url, target)
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        left = response.headers["Content-Length"]
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if resumed else "wb") as out:
            begin = out.tell()
            shutil.copyfileobj(response, out)
            got = out.tell() - begin
    if left is not None and got != int(left):
        raise OSError(f"the connection broke {int(left) - got} bytes before the end")
    part.replace(target)
