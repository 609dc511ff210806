"""The engine's transport for real: images from storage or the web, the API by its client, records to the journal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from deepo_beam import storage
from deepo_beam.api import JSON_TYPE, Client, Task, json_body, multipart_body, url_body
from deepo_beam.engine import LoadedImage, LoadFailure
from deepo_beam.errors import ConfigError, ErrorCode, ImageError, Stage, StorageError
from deepo_beam.images import inspect_image
from deepo_beam.lake.journal import Journal, segment_name
from deepo_beam.records import Record
from deepo_beam.run import RunPlan
from deepo_beam.text import cut_middle
from deepo_beam.types import Facts, Failure, ImageInfo, ImageRef, Payload
from deepo_beam.web import WebReader

_WRITERS = 4  # segments written at once: each waits for its store, hardly for the interpreter


class ServiceTransport:
    """Reads, posts and polls for one run."""

    def __init__(self, plan: RunPlan) -> None:
        """Reads the key.

        Raises:
            PreflightError: there is no usable key on this machine.
        """
        self._plan = plan
        self._client = Client(plan.api, plan.credentials, pool_size=plan.engine.max_senders + 8)
        self._web = WebReader(allow_private_hosts=plan.allow_private_hosts, pool_size=plan.engine.max_senders)

    def load(self, image: ImageRef) -> LoadedImage | LoadFailure:
        """Read, check and wrap an image; see :class:`deepo_beam.engine.Transport`.

        With ``--payload url`` the service reads it: nothing is asked for here, and from which addresses it
        reads is its own affair.
        """
        remote = image.location.lower().startswith(("http://", "https://"))
        if self._plan.payload is Payload.URL:
            return self._by_url(image) if remote else _unusable(image, "--payload url takes http(s) URIs only")
        limit = self._plan.max_image_bytes
        try:
            data, modified_us = self._read(image, limit, remote=remote)
        except StorageError as error:
            return LoadFailure(_failure(Stage.READ, error.code, error), Facts())
        except ConfigError as error:  # a scheme that nobody serves
            return LoadFailure(_failure(Stage.READ, ErrorCode.INVALID_URI, error), Facts())
        try:
            info = inspect_image(data, max_bytes=limit)
        except ImageError as error:
            # Of a file that is too large only the beginning was read.
            whole = len(data) <= limit
            listed = Facts(size_bytes=image.size_bytes, modified_us=modified_us)
            facts = _facts(data, None, modified_us) if whole else listed
            return LoadFailure(_failure(Stage.VALIDATE, error.code, error), facts)
        body, content_type = self._wrap(image, data, info)
        return LoadedImage(_facts(data, info, modified_us), body, content_type)

    def post(self, image: LoadedImage) -> str:
        """One call; see :class:`deepo_beam.engine.Transport`."""
        return self._client.post_inference(self._plan.target, image.body, image.content_type)

    def poll(self, task_ids: Sequence[str]) -> list[Task]:
        """One call; see :class:`deepo_beam.engine.Transport`."""
        return self._client.tasks(task_ids, self._plan.expected)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._web.close()

    def _read(self, image: ImageRef, limit: int, *, remote: bool) -> tuple[bytes, int | None]:
        """The bytes, and when they were written: as the listing says, else as a web server does."""
        if not remote:
            return storage.read_bytes(image.location, max_bytes=limit), image.modified_us
        found = self._web.read(image.location, max_bytes=limit)
        return found.data, found.modified_us if image.modified_us is None else image.modified_us

    def _wrap(self, image: ImageRef, data: bytes, info: ImageInfo) -> tuple[bytes, str]:
        plan = self._plan
        if plan.payload is Payload.MULTIPART:
            return multipart_body(
                data,
                info.media_type,
                crop=image.crop,
                show_discarded=plan.show_discarded,
                max_predictions=plan.max_predictions,
            )
        body = json_body(
            data,
            info.media_type,
            crop=image.crop,
            show_discarded=plan.show_discarded,
            max_predictions=plan.max_predictions,
        )
        return body, JSON_TYPE

    def _by_url(self, image: ImageRef) -> LoadedImage:
        body = url_body(
            image.location,
            crop=image.crop,
            show_discarded=self._plan.show_discarded,
            max_predictions=self._plan.max_predictions,
        )
        return LoadedImage(Facts(modified_us=image.modified_us), body, JSON_TYPE)


class JournalWriter:
    """Writes the engine's flushes as segments; see :class:`deepo_beam.engine.JournalSink`."""

    def __init__(self, journal: Journal, run_id: str, worker: str) -> None:
        """``worker``: 8 hex digits, of this process alone."""
        self._journal = journal
        self._run_id = run_id
        self._worker = worker
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="deepo-beam-journal")

    def write(self, number: int, segments: dict[int, list[Record]]) -> None:
        """One segment for each bucket.

        Raises:
            StorageError: some may have been written; write all again.
        """
        name = segment_name(self._run_id, self._worker, number)
        list(self._pool.map(lambda item: self._journal.append(item[0], name, item[1]), segments.items()))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _facts(data: bytes, info: ImageInfo | None, modified_us: int | None) -> Facts:
    return Facts(info, hashlib.sha256(data).hexdigest(), len(data), modified_us)


def _unusable(image: ImageRef, why: str) -> LoadFailure:
    message = cut_middle(f"{image.image_uri}: {why}", 1000)
    return LoadFailure(Failure(Stage.READ, ErrorCode.INVALID_URI, message, retryable=False), Facts())


def _failure(stage: Stage, code: ErrorCode, error: StorageError | ImageError | ConfigError) -> Failure:
    return Failure(stage, code, cut_middle(str(error), 1000), error.retryable)
