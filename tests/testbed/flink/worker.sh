#!/bin/sh
# What a TaskManager starts a Python worker with (--environment_type=PROCESS). The environment is the TaskManager's: PATH with
# the bin folder of an environment that has deepo-beam first, BEAM_BOOT (Beam's program that fetches the job and starts
# Python), and the API key.
export RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 # do not make an environment for each worker
exec "${BEAM_BOOT:?}" --semi_persist_dir="$(mktemp -d)" "$@"
