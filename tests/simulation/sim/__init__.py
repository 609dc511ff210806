"""Whole runs over the whole life of an output, in virtual time, from a seed.

The code that decides is that of production: the engine's core, planning, journal, merge, tally, publish, compaction
and budget. Modelled are the service, the store, the clock, processes that die, and whoever starts them again.
``truth`` knows what really happened, and is never asked by the code under test.
"""
