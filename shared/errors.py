"""Every exception that is raised on purpose, and what becomes of it. Where one is caught it is caught by these names.

    Poison            this record is bad: it goes to the dead letters, and is committed
    Transient         what we depend on is away, and stayed away through the retries at the place
      Replaced        it is there, and is not what this process began with: the process ends, and begins anew
      StoreFull       the photo store has no room; works again once there is      shared/photo_store.py
    OutOfMemory       the device can't hold the batch: the batch shrinks
    Unusable          what this process or command was given can't be used: it ends, and the message says what to do
      BadSettings       variables of the environment                              shared/settings.py
      PackUnusable      a model pack                                              shared/vision/pack.py
      DeviceAbsent      a device that isn't there                                 shared/vision/runtime.py
      CannotMove        groups whose offsets may not be moved like this           shared/stream/moves.py
      NoSuchLetter      an offset with no dead letter at it                       shared/stream/dead_letters.py
      PhotosUnusable    photos to train on or to measure with                     learning/training.py
      RunUnusable       a training run that can't be gone on with                 learning/fine_tuning.py
      BaselineAbsent    an embedding to compare with that can't be fetched        learning/baselines.py
      NotReady          a machine that lacks what the fleet needs                 local/fleet.py
      ServerFailed      a Kafka or Redis of our own that did not start            local/servers.py
      GaveUp            processes that could not be kept up                       local/supervisor.py
    OSError
      CannotListen      an address that is taken, or isn't this machine's

Others never leave the room that raises them: what is said to one caller (Refusal in shared/grpc.py, Problem and
BadPhoto in the gateway, and what its register finds Damaged or Stale) and what is asked in vain (MissingObject of the
photo store, WrongDimension of the index).

Out of a process come Transient, Unusable and OSError as one line, anything else as a bug, with its traceback
(shared/process.py); the supervisor starts it again, and nothing was committed. Out of a command, likewise
(cli/plain.py).
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


class Replaced(Transient):
    """What we depend on came back as another than this process began with, which can't go on with it."""


class OutOfMemory(Exception):
    """The device could not hold the batch. Nobody's fault: the batch shrinks."""


class Unusable(Exception):
    """What this process or command was given can't be used; the message says why and what to do."""


class CannotListen(OSError):
    """Nobody can call us there: the address is taken, or isn't this machine's."""

    def __init__(self, host: str, port: int, why: Exception) -> None:
        super().__init__(f"{host}:{port} can't be listened on: {why}")


def root_causes(why: BaseException) -> list[BaseException]:
    """The exceptions inside an exception group, however deep; of any other exception itself."""
    if isinstance(why, BaseExceptionGroup):
        return [cause for inner in why.exceptions for cause in root_causes(inner)]
    return [why]


def can_happen_to_anybody(why: BaseException) -> bool:
    """Whether it is no bug of ours, and no record's doing: something is away, or what we were given can't be used."""
    return all(isinstance(cause, Transient | Unusable | OSError) for cause in root_causes(why))
