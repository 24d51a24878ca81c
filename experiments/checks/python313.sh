#!/usr/bin/env bash
# Runs the tests of the last commit on Python 3.13 with the newest version of everything,
# in a folder with Debian trixie:
#
#     experiments/checks/python313.sh FOLDER [ARGUMENTS OF PYTEST]
#
# It needs root and debootstrap. The mirror is that of this machine's apt, and pip is set
# up as on this machine. A second run with the same folder keeps what is installed, apart
# from newer versions. Without further arguments all tests run.
set -euo pipefail
folder=$(realpath -m "${1:?usage: $0 FOLDER [ARGUMENTS OF PYTEST]}")
shift
cd "$(dirname "$0")/../.."

if [ ! -e "$folder/usr/bin/python3" ]; then
  mirror=$(apt-get indextargets --format '$(REPO_URI)' \
    'Origin: Debian' 'Component: main' | grep -v security | head -n 1)
  debootstrap --variant=minbase --include=python3,python3-venv \
    trixie "$folder" $mirror
fi

trap 'umount "$folder/proc" "$folder/dev"' EXIT
mount --bind /proc "$folder/proc"
mount --bind /dev "$folder/dev"

# Names, certificates, and the settings of pip; its variables are inherited.
for path in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt \
  /etc/pip.conf /etc/xdg/pip ~/.config/pip ~/.pip; do
  if [ -e "$path" ]; then cp -rL --parents "$path" "$folder"; fi
done

# What was deleted since the last run has to go.
rm -rf "$folder/unmute_jax"
mkdir "$folder/unmute_jax"
git archive HEAD | tar x -C "$folder/unmute_jax"

chroot "$folder" bash -c '
  set -e
  export LANG=C.UTF-8
  cd /unmute_jax
  [ -e /venv ] || python3 -m venv /venv
  /venv/bin/pip install --quiet --upgrade --upgrade-strategy=eager -e ".[test]"
  /venv/bin/python -VV
  /venv/bin/pip list | grep -E "^(jax|jaxlib|flax|numpy|librosa) "
  /venv/bin/python -m pytest "$@"
' python313 "$@"
