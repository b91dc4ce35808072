#!/bin/sh
# Assembles the operator and what it needs into one folder: the build stage of the image, and of the test that has no
# container runtime. Run from the root of the checkout: operator/image/assemble.sh FOLDER
set -eu
python=${PYTHON:-python3}
folder=$1
pip="$python -m pip --disable-pip-version-check --no-input --quiet"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# What is not in the lock, or is in it with another hash, is not installed.
$pip install --require-hashes --no-deps --no-compile --target "$build" --requirement requirements/build.txt
$pip install --require-hashes --no-deps --no-compile --target "$folder" --requirement requirements/runtime.txt
PYTHONPATH=$build $pip install --no-build-isolation --no-deps --no-compile --target "$folder" .
"$python" operator/image/slim.py "$folder"
# The root filesystem is read-only later: what is compiled is compiled now.
"$python" -m compileall -q "$folder"
