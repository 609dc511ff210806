"""For all tests."""

import signal

from hypothesis import settings

# How long an example takes says nothing on a machine that does other things at the same time.
settings.register_profile("deepo-beam", deadline=None, max_examples=60)
settings.load_profile("deepo-beam")

# A shell has its background jobs ignore Ctrl-C, and the commands that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
