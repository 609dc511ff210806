"""What deepo-beam is measured against; each module is a command of an environment of its own.

All take ``FOLDER URL``: label every image of the folder at the service, and exit 0 when all have their labels.
"""
