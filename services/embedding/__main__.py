"""The embedding consumer, and the gRPC server that embeds a shopper's photo with the same model."""

from services.embedding.server import serve_embedding
from services.embedding.task import EmbeddingTask
from shared import metrics
from shared.stream.serving import Wiring, WorkerSettings, run_worker
from shared.vision.reader import Reader, open_reader


def wiring(settings: WorkerSettings, reader: Reader) -> Wiring:
    metrics.export(metrics.RPC)
    return Wiring([EmbeddingTask(reader)], reader.pack_name, [lambda device: serve_embedding(reader, device, settings)])


if __name__ == "__main__":
    run_worker("embedding", lambda settings: wiring(settings, open_reader(settings)))
