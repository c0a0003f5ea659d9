"""A worker as a process that some photos kill: `python -m tests.dying_worker KAFKA PROTOCOL TOPIC SESSION_SECONDS`.

It works until SIGTERM. A photo "killer" ends it like a decoder that reads where it may not, with no time to say or to
commit anything; with a photo "waits" it is busy until somebody else kills it.
"""

import asyncio
import os
import signal
import sys
import threading

from shared.photos import Photo
from shared.stream.producer import KafkaSink, Producer
from shared.stream.worker import Worker
from tests.fakes import CANARY, Shout, Whisper, inline
from tests.kafka_line import PROTOCOLS, QUICK, KafkaLine


class Dies(Shout):
    def prepare(self, photo: Photo) -> bytes:
        if photo.body == b"killer":
            os.kill(os.getpid(), signal.SIGKILL)
        if photo.body == b"waits":
            threading.Event().wait()
        return super().prepare(photo)


async def main(kafka: str, protocol: str, topic: str, session_seconds: str) -> None:
    (chosen,) = (one for one in PROTOCOLS if one == protocol)
    source = KafkaLine(kafka, chosen, topic, float(session_seconds)).source()
    producer = Producer(kafka)
    worker = Worker(source, inline, [Dies(), Whisper()], KafkaSink(producer, "dummy@1"), CANARY, QUICK)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()
    await source.close()
    producer.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
