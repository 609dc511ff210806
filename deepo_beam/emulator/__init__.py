"""A local server of the Deepomatic API v0.7, with real models and faults that one asks for.

Importing this package loads neither aiohttp nor any model: the echo rules below are plain Python, so that
any table made with an echo model can be checked row by row, anywhere.
"""

from deepo_beam.emulator.echo import echo_boxes_predictions, echo_classification, echo_predictions

__all__ = ["echo_boxes_predictions", "echo_classification", "echo_predictions"]
