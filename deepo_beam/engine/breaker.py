"""Whether the service is down, and when to ask whether it is back. Pure; the clock is handed in."""

from __future__ import annotations


class Breaker:
    """Opens when ``threshold`` posts in a row failed; then one probe at a time, after 1 s doubling to 30 s."""

    _FIRST_PROBE_S = 1.0
    _LONGEST_PROBE_S = 30.0

    def __init__(self, threshold: int) -> None:
        """Closed; ``threshold`` >= 1."""
        self._threshold = threshold
        self._in_a_row = 0
        self._pause = self._FIRST_PROBE_S
        self._probe_at = 0.0
        self._probing = False
        self.down_since: float | None = None

    @property
    def open(self) -> bool:
        """The service is taken to be down."""
        return self.down_since is not None

    def failed(self, now: float, *, probe: bool) -> None:
        """A post failed as in an outage; ``probe``: it was the one that asks whether the service is back."""
        self._in_a_row += 1
        if self.open and probe:
            self._probing = False
            self._pause = min(self._LONGEST_PROBE_S, 2 * self._pause)
            self._probe_at = now + self._pause
        elif not self.open and self._in_a_row >= self._threshold:
            self.down_since = now
            self._pause = self._FIRST_PROBE_S
            self._probe_at = now + self._pause

    def answered(self) -> None:
        """The service answered a post, be it with a refusal: it is up."""
        self._in_a_row = 0
        self._probing = False
        self.down_since = None

    def rest(self, now: float) -> None:
        """This process posts nothing, for others do: it cannot see how long the service is down."""
        if self.open:
            self.down_since = now

    def may_post(self, now: float) -> float:
        """0.0 if a post may start, else the seconds until one may (infinite while a probe is out)."""
        if not self.open:
            return 0.0
        if self._probing:
            return float("inf")
        return max(0.0, self._probe_at - now)

    def starts_post(self) -> bool:
        """A post starts; True if it is the probe."""
        self._probing = self.open
        return self._probing
