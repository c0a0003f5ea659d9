"""The three kinds of error. There is no fourth.

Poison goes to the dead letters, Transient has been retried where it occurred and now stops the process, and so does
anything else: the supervisor restarts it, and nothing was committed.
"""


class Poison(Exception):
    """This record is bad and retrying will not help.

    `code` is one of a few fixed words (it becomes a metric label), `message` is for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Transient(Exception):
    """Something we depend on is away, and stayed away through the retries at the place."""


class OutOfMemory(Exception):
    """The device could not hold the batch. Nobody's fault: the batch shrinks."""


class Unusable(Exception):
    """The pack, trunk, device or server that this process was given can't be used; the message says what to do."""
