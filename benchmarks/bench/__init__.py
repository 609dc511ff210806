"""``make bench``: deepo-beam beside its peers, against one server, with the same images, in one run.

docs/performance.md says how it is run, who takes part and what was measured.
"""
