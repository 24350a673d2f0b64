#!/bin/sh
# Runs one peer check: run.sh CHECK.py.  Status 77 (ctest: skipped) where no Python with the
# packages is found.  GLMQ_PEERS_PYTHON names the interpreter; default: the one of setup.sh.
set -u
here=$(cd "$(dirname "$0")" && pwd)
python=${GLMQ_PEERS_PYTHON:-${GLMQ_PEERS_VENV:-$here/.venv}/bin/python}
if [ ! -x "$python" ]; then
    echo "skipped: no $python (tests/peers/setup.sh makes it)"
    exit 77
fi
exec "$python" "$here/$1"
