"""``python -m deepo_beam.emulator --latency 0.2``: the emulator as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields

from deepo_beam.emulator.options import Options, flag_of, from_texts, help_of
from deepo_beam.emulator.server import Emulator
from deepo_beam.errors import ConfigError


def run(options: Options) -> None:
    """Serves until SIGTERM or SIGINT, then ends the process with exit code 0, within a second.

    The first line on standard output is ``listening on http://HOST:PORT``. Does not return.

    Args:
        options: what to serve.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    asyncio.run(_serve(options))
    os._exit(0)  # a model that is still being trained, in its thread, must not hold up the end


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    emulator = Emulator(options)
    try:
        await emulator.start()
    except OSError as error:
        raise ConfigError(f"cannot listen on {options.host}:{options.port}: {error}") from error
    sys.stdout.write(f"listening on {emulator.url}\n")
    sys.stdout.flush()
    await stop.wait()
    await emulator.stop()


def main(arguments: Sequence[str]) -> None:
    """Runs with the flags of ``deepo-beam emulator``; a wrong one ends the process with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m deepo_beam.emulator", allow_abbrev=False)
    for option in fields(Options):
        if option.metadata["parse"] is bool:
            parser.add_argument(flag_of(option.name), action="store_const", const="yes", help=help_of(option.name))
        else:
            parser.add_argument(flag_of(option.name), help=help_of(option.name).replace("%", "%%"))
    given = {name: text for name, text in vars(parser.parse_args(arguments)).items() if text is not None}
    try:
        run(from_texts(given))
    except ConfigError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
