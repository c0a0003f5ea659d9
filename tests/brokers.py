"""Brokers of other settings than the fleet's, for tests."""

from collections.abc import Mapping

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from local.servers import KafkaServer


class SetBroker(KafkaServer):
    """With some settings of its own."""

    settings: Mapping[str, object] = {}

    def _properties(self, controller_port: int) -> str:
        # Of a setting that is there twice the last one counts.
        return super()._properties(controller_port) + "".join(
            f"{key}={value}\n" for key, value in self.settings.items()
        )


class ImpatientBroker(SetBroker):
    """Gives a dead consumer's partitions away after a second or two."""

    session_seconds = 1.5
    settings = {  # noqa: RUF012
        "group.min.session.timeout.ms": 500,
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.session.timeout.ms": 1500,
        "group.consumer.min.heartbeat.interval.ms": 100,
        "group.consumer.heartbeat.interval.ms": 300,
    }


class GuardedBroker(SetBroker):
    """Lets everybody do everything with what no rule is about."""

    settings = {  # noqa: RUF012
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }

    def allow(self) -> None:
        """Whatever was denied."""
        everything = AclBindingFilter(
            ResourceType.ANY,
            None,  # type: ignore[arg-type]  # any name, of anybody, from anywhere
            ResourcePatternType.ANY,
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        admin = AdminClient({"bootstrap.servers": self.bootstrap})  # by a name, or it ends before it has the answer
        admin.delete_acls([everything])[everything].result()

    def deny(self, what: ResourceType, name: str, operation: AclOperation) -> None:
        """To all, from now on; and all else that nobody is granted."""
        self._rule(what, name, operation, AclPermissionType.DENY)

    def grant(self, what: ResourceType, name: str, operation: AclOperation) -> None:
        """To all, and nothing else of what nobody is granted."""
        self._rule(what, name, operation, AclPermissionType.ALLOW)

    def _rule(self, what: ResourceType, name: str, operation: AclOperation, permission: AclPermissionType) -> None:
        rule = AclBinding(what, name, ResourcePatternType.LITERAL, "User:*", "*", operation, permission)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_acls([rule])[rule].result()
