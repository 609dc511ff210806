"""What a run writes: the journal (a log of records) and the tables derived from it. No Beam in here.

Data and pure functions: :mod:`.schemas` (columns), :mod:`.records` and :mod:`.rows` (the journal's bytes),
:mod:`.merge` (records to one state per image), :mod:`.flatten` and :mod:`.tables` (results to rows and
Parquet). :mod:`.journal` is the thin shell that reads and writes segments.
"""
