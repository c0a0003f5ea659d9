"""Brokers of other settings than the fleet's, for tests."""

from local.servers import KafkaServer


class ImpatientBroker(KafkaServer):
    """Gives a dead consumer's partitions away after a second or two."""

    session_seconds = 1.5

    def _properties(self, controller_port: int) -> str:
        settings = {
            "group.min.session.timeout.ms": 500,
            "group.consumer.min.session.timeout.ms": 1000,
            "group.consumer.session.timeout.ms": int(1000 * self.session_seconds),
            "group.consumer.min.heartbeat.interval.ms": 100,
            "group.consumer.heartbeat.interval.ms": 300,
        }
        return super()._properties(controller_port) + "".join(f"{key}={value}\n" for key, value in settings.items())
