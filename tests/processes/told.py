"""A coordination service in memory, for processes that are threads."""

import threading

from etude.engine.processes import Processes


class Service:
    """What `etude.engine.processes.Client` says, without a wait longer than `shortest` seconds
    where none of PATIENCE is asked for."""

    def __init__(self, shortest: float = 0.2):
        self.values: dict[str, str] = {}
        self.shortest, self.gone = shortest, False
        self._changed = threading.Condition()

    def processes(self, count: int) -> list[Processes]:
        """All processes of one training."""
        found = [Processes(number, count, self) for number in range(count)]
        for one in found:
            one.takes_notice = False
        return found

    def key_value_set(self, key: str, value: str) -> None:
        with self._changed:
            if self.gone or key in self.values:
                raise RuntimeError(f"ALREADY_EXISTS or UNAVAILABLE: {key}")
            self.values[key] = value
            self._changed.notify_all()

    def key_value_try_get(self, key: str) -> str:
        if key not in self.values:
            raise RuntimeError(f"NOT_FOUND: {key}")
        return self.values[key]

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str:
        long = timeout_in_ms > 3_600_000
        with self._changed:
            until = 20 if long else min(self.shortest, timeout_in_ms / 1000)
            if not self._changed.wait_for(lambda: self.gone or key in self.values, until):
                raise RuntimeError(f"DEADLINE_EXCEEDED: {key}")
            if self.gone:
                raise RuntimeError("UNAVAILABLE")
            return self.values[key]

    def key_value_delete(self, key: str) -> None:
        self.values.pop(key, None)


def side_by_side(*works) -> list:
    """What each work returns, or raises, in a thread of its own."""
    found: list = [None] * len(works)

    def do(place: int) -> None:
        try:
            found[place] = works[place]()
        except BaseException as error:
            found[place] = error

    threads = [threading.Thread(target=do, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return found
