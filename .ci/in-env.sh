#!/bin/sh
# sh .ci/in-env.sh COMMAND...: runs COMMAND with the environment that holds trunkline first on PATH, activated or not.
# dvc.yaml names this and no interpreter, so that its text, which DVC hashes, is the same on every machine.

program() { tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | head -n 1; }
parent() { sed 's/.*) . //; s/ .*//' "/proc/$1/stat" 2>/dev/null; }

# The Python that runs DVC (told on Linux; some shells stand between), else the one on PATH, else that of `make setup`.
for python in "$(program $PPID)" "$(program "$(parent $PPID)")" "$(command -v python)" .venv/bin/python; do
  case $python in */python*) ;; *) continue ;; esac
  if "$python" -c 'import trunkline.errors' 2>/dev/null; then
    PATH=$(dirname "$python"):$PATH
    export PATH
    exec "$@"
  fi
done
echo "no Python here holds trunkline; run \`make setup\`, or activate the environment that does" >&2
exit 5
