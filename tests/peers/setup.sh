#!/bin/sh
# Makes the virtual environment that the peer checks run in: tests/peers/.venv, or the folder
# named by GLMQ_PEERS_VENV.  The product needs none of this.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${GLMQ_PEERS_VENV:-$here/.venv}
python3 -m venv "$venv"
"$venv/bin/pip" install -q -U pip wheel
"$venv/bin/pip" install -q -r "$here/requirements.txt"
echo "peer checks will use $venv/bin/python"
