"""The API as methods: paths from ``building``, one exchange by ``transport``, values from ``decoding``."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

from deepo_beam.api import building, decoding
from deepo_beam.api.credentials import Credentials
from deepo_beam.api.retry import RetryPolicy, retrying
from deepo_beam.api.settings import ApiSettings
from deepo_beam.api.transport import Transport
from deepo_beam.api.values import Account, OutputSpec, Page, Specification, Task, Version
from deepo_beam.errors import BadReplyError
from deepo_beam.types import ModelRef

T = TypeVar("T")

_MAX_PAGES = 1000  # a listing longer than 100,000 entries is a server that goes round in circles


class Client:
    """Speaks with one Deepomatic API v0.7. Any number of threads may share one client.

    Reads of the account, of specifications and of versions are retried. Inferences and tasks are tried once:
    each post has to be journalled before it is made, and polls have a rhythm of their own; both belong to the
    caller.

    A client pickles as its settings and the source of its key, and opens anew, reading the key where it then
    is; a clock, a sleep or a random generator that was handed in stays behind.

    Args:
        settings: where the API is and how long to wait for it.
        credentials: where the key is; it is read at once.
        pool_size: connections kept open: the number of threads that will share the client.
        policy: of the reads that are retried.
        sleep, clock, rng: the outside world, for tests.

    Raises:
        PreflightError: there is no usable key.
        ConfigError: the settings or the environment's proxies or CA bundle cannot be used.
    """

    def __init__(
        self,
        settings: ApiSettings,
        credentials: Credentials,
        *,
        pool_size: int = 16,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.settings = settings
        self._credentials = credentials
        self._pool_size = pool_size
        self._policy = policy
        self._sleep = sleep
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not cryptography
        self._transport = Transport(settings, credentials, pool_size=pool_size, clock=clock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings!r}, {self._credentials!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.settings, self._credentials, self._pool_size, self._policy)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the pooled connections; the client works on, with new ones."""
        self._transport.close()

    def account(self) -> Account:
        """Whose key it is; the cheapest check of the credentials.

        Raises:
            AuthenticationError: the key is wrong.
            ApiError: as for every other read, see :mod:`deepo_beam.errors`.
        """
        return self._read(building.ACCOUNT_PATH, decoding.decode_account)

    def specifications(self, public: bool) -> Iterator[Specification]:
        """All public or all private specifications, page after page, without their outputs."""

        def page(status: int, headers: Mapping[str, str], body: bytes) -> Page[Specification]:
            return decoding.decode_specifications(status, headers, body, public=public)

        return self._pages(lambda offset: building.collection_path(public=public, offset=offset), page)

    def specification(self, spec_id: str) -> Specification:
        """One specification with its outputs; ids of digits only are private.

        Raises:
            NotFoundError: there is none of that id for this key.
            ConfigError: the id cannot be one.
        """

        def decode(status: int, headers: Mapping[str, str], body: bytes) -> Specification:
            return decoding.decode_specification(status, headers, body, public=building.is_public(spec_id))

        return self._read(building.specification_path(spec_id), decode)

    def versions(self, spec_id: str) -> Iterator[Version]:
        """The versions of a specification, page after page; errors as for `specification`."""
        return self._pages(lambda offset: building.versions_path(spec_id, offset=offset), decoding.decode_versions)

    def version(self, version_id: int | str) -> Version:
        """One version; errors as for `specification`."""
        return self._read(building.version_path(str(version_id)), decoding.decode_version)

    def post_inference(self, model: ModelRef, body: bytes, content_type: str) -> str:
        """Posts one image, once; it is charged if it is accepted.

        Args:
            model: what is to label it.
            body: from ``json_body``, ``multipart_body`` or ``url_body``.
            content_type: of the body.

        Returns:
            The id of its task, as text.

        Raises:
            ApiError: ``retryable`` and ``maybe_billed`` say what may be done.
        """
        path = building.inference_path(model)
        return decoding.decode_accepted(*self._transport.exchange("POST", path, body, content_type))

    def task(self, task_id: str, expected: Sequence[OutputSpec] | None = None) -> Task:
        """One task, asked for once; ``expected`` are the outputs of its specification.

        Raises:
            NotFoundError: the service no longer knows it.
        """
        reply = self._transport.exchange("GET", building.task_path(task_id))
        return decoding.decode_task(*reply, expected)

    def tasks(self, task_ids: Sequence[str], expected: Sequence[OutputSpec] | None = None) -> list[Task]:
        """1 to 100 tasks, asked for once; those that the service no longer knows are not in the list.

        A service that hands out smaller pages than asked for is asked for the next ones: a task on a page not
        read would look lost, and be paid for again.

        Args:
            task_ids: as `post_inference` returned them.
            expected: the outputs of their specification; None checks results less.

        Raises:
            ValueError: not 1 to 100 ids.
        """
        tasks: list[Task] = []
        while True:
            path = building.tasks_path(task_ids, offset=len(tasks))
            page = decoding.decode_task_page(*self._transport.exchange("GET", path), expected)
            tasks += page.results
            if not (page.has_next and page.results and len(tasks) < len(task_ids)):
                return tasks

    def _pages(
        self, path: Callable[[int], str], decode: Callable[[int, Mapping[str, str], bytes], Page[T]]
    ) -> Iterator[T]:
        """Entries of all pages, by offset: the service's ``next`` may lead anywhere, and is not followed."""
        offset = 0
        for _ in range(_MAX_PAGES):
            page = self._read(path(offset), decode)
            yield from page.results
            offset += len(page.results)
            if not (page.has_next and page.results):
                return
        raise BadReplyError(f"{path(0)}: after {_MAX_PAGES} pages there is still another one")

    def _read(self, path: str, decode: Callable[[int, Mapping[str, str], bytes], T]) -> T:
        """A GET that is tried again as the policy says."""
        retry = retrying(self._policy, sleep=self._sleep, clock=self._clock, rng=self._rng)
        return retry(lambda: decode(*self._transport.exchange("GET", path)))


def _reopen(settings: ApiSettings, credentials: Credentials, pool_size: int, policy: RetryPolicy) -> Client:
    return Client(settings, credentials, pool_size=pool_size, policy=policy)
