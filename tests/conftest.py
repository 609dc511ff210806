"""For all tests."""

import signal

# A shell has its background jobs ignore Ctrl-C, and the commands that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
