"""Topics, groups and lag against a real Kafka that holds nothing else: the names are the fleet's own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from vitrine.events.v1 import image_pb2, listing_pb2

from cli.dlq import dlq
from cli.groups import groups
from cli.topics import topics
from local.processes import free_port
from local.servers import KafkaServer, kafka_jars
from services.lag.exporter import LagExporter, Timestamps, export
from shared.errors import Transient
from shared.events import Event
from shared.health import Health, serve_health
from shared.metrics import LAG
from shared.stream.admin import Difference, admin, create_topics, differences, once_ready
from shared.stream.dead_letters import as_dead_letter
from shared.stream.moves import CannotMove, altered, carry_out, plan_move
from shared.stream.offsets import READS, committed_offsets, group_names, standings
from shared.stream.records import Assignment, Record, Rejected
from shared.topics import DEAD_LETTERS, IMAGE_UPLOADED, LISTING_CHANGED, TOPICS
from tests.conftest import home

SPLIT = ["vitrine-classification", "vitrine-attributes", "vitrine-embedding", "vitrine-fraud"]
UPLOADED = IMAGE_UPLOADED.name


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of this module's own: what is tested is the set of all topics and groups."""
    with KafkaServer(tmp_path_factory.mktemp("kafka"), kafka_jars(home())) as server:
        yield server.bootstrap


@pytest.fixture(scope="module")
def bootstrap(broker: str) -> str:
    """A broker with the declared topics and five records in each of the first two partitions of image.uploaded."""
    create_topics(broker)
    produce(broker, UPLOADED, [(0, b"x", n) for n in range(5)] + [(1, b"y", n) for n in range(5)])
    return broker


@pytest.fixture
def client(bootstrap: str) -> Iterator[AdminClient]:
    """Without any group: what a test leaves behind is removed first."""
    client = admin(bootstrap)
    if names := group_names(client, bootstrap):
        for deleted in client.delete_consumer_groups(names).values():
            deleted.result()
    yield client


def produce(bootstrap: str, topic: str, records: Sequence[tuple[int, bytes, int]], timestamp: int = 0) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition, key, number in records:
        producer.produce(topic, key=key, value=str(number), partition=partition, timestamp=timestamp)
    assert producer.flush(20) == 0


def commit(client: AdminClient, group: str, *offsets: tuple[int, int]) -> None:
    """As a worker that has gone home: partition and offset pairs of image.uploaded."""
    wanted = [TopicPartition(UPLOADED, partition, offset) for partition, offset in offsets]
    answer = once_ready(partial(altered, client, ConsumerGroupTopicPartitions(group, wanted)))
    assert not [refused for refused in answer.topic_partitions or () if refused.error]


# --- topics -----------------------------------------------------------------------------------------------------------


def test_missing_topics_are_created_once_and_as_declared(broker: str) -> None:
    create_topics(broker)
    assert create_topics(broker) == []
    assert differences(broker) == []
    there = admin(broker).list_topics(timeout=10).topics
    assert {topic.name: topic.partitions for topic in TOPICS} == {
        topic.name: len(there[topic.name].partitions) for topic in TOPICS
    }


def test_a_topic_that_differs_is_reported_and_left_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    with KafkaServer(tmp_path_factory.mktemp("kafka"), kafka_jars(home())) as server:
        client = admin(server.bootstrap)
        existing = NewTopic(UPLOADED, num_partitions=3, replication_factor=1, config={"retention.ms": "1000"})
        settings = {"cleanup.policy": "compact", "retention.ms": "-1"}
        compacted = NewTopic(LISTING_CHANGED.name, num_partitions=12, replication_factor=1, config=settings)
        for created in client.create_topics([existing, compacted]).values():
            created.result()
        result = CliRunner().invoke(topics, ["--kafka", server.bootstrap])
        assert result.exit_code == 0, result.output
        assert f"created {DEAD_LETTERS.name}" in result.output
        assert f"created {UPLOADED}" not in result.output
        assert f"{UPLOADED}: partitions is 3, declared is 12" in result.output
        assert differences(server.bootstrap) == [
            Difference(LISTING_CHANGED.name, "max.compaction.lag.ms", str(24 * 3600 * 1000), str(2**63 - 1)),
            Difference(UPLOADED, "partitions", "12", "3"),
            Difference(UPLOADED, "retention.ms", str(7 * 24 * 3600 * 1000), "1000"),
        ]


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_one_broker_may_be_lost_and_one_may_restart(replication: int, in_sync: str) -> None:
    assert {topic.config(replication)["min.insync.replicas"] for topic in TOPICS} == {in_sync}


def test_listing_the_topics_creates_none(bootstrap: str) -> None:
    result = CliRunner().invoke(topics, ["--kafka", bootstrap, "--list"])
    assert result.exit_code == 0, result.output
    assert all(topic.name in result.output for topic in TOPICS)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(topics, []), (groups, ["list"]), (dlq, ["list"])],
    ids=["topics", "groups", "dlq"],
)
def test_no_broker_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch, command, arguments) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("shared.stream.admin.CONNECT_SECONDS", 0.5)
    result = CliRunner().invoke(command, [*arguments, "--kafka", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert result.output.strip() == (
        "Error: no Kafka broker answers at 127.0.0.1:1: start one, or set VITRINE_KAFKA to yours"
    )


# --- standings --------------------------------------------------------------------------------------------------------


def test_partitions_without_a_commit_count_from_their_start(client: AdminClient, bootstrap: str) -> None:
    commit(client, "vitrine-fraud", (0, 3))
    found = {(one.topic, one.partition): one for one in standings(client, bootstrap)}
    assert len(found) == IMAGE_UPLOADED.partitions
    assert found[UPLOADED, 0].lag == 2
    assert (found[UPLOADED, 1].committed, found[UPLOADED, 1].lag) == (None, 5)
    assert found[UPLOADED, 2].lag == 0


def test_a_group_that_never_came_up_counts_if_expected(client: AdminClient, bootstrap: str) -> None:
    assert standings(client, bootstrap) == []
    found = standings(client, bootstrap, ["vitrine-embedding"])
    assert [one.lag for one in found if one.partition in (0, 1)] == [5, 5]


def test_groups_list_shows_state_and_lag(client: AdminClient, bootstrap: str) -> None:
    commit(client, "vitrine-fraud", (0, 5), (1, 1))
    result = CliRunner().invoke(groups, ["list", "--kafka", bootstrap])
    assert result.exit_code == 0, result.output
    assert "vitrine-fraud" in result.output
    assert "empty" in result.output


# --- moving -----------------------------------------------------------------------------------------------------------


def test_the_fused_group_goes_on_at_the_lowest_of_the_split_ones(client: AdminClient, bootstrap: str) -> None:
    for group, first, second in zip(SPLIT, (5, 4, 3, 5), (2, 5, 5, 5), strict=True):
        commit(client, group, (0, first), (1, second))
    called = ["move", "--kafka", bootstrap, "--from", ",".join(SPLIT), "--to", "vitrine-fused"]
    result = CliRunner().invoke(groups, called)
    assert result.exit_code == 0, result.output
    committed = committed_offsets(bootstrap, "vitrine-fused")
    assert (committed[UPLOADED, 0], committed[UPLOADED, 1]) == (3, 2)
    assert group_names(client, bootstrap) == ["vitrine-fused"]


def test_and_back_to_the_split_ones(client: AdminClient, bootstrap: str) -> None:
    commit(client, "vitrine-fused", (0, 4), (1, 1))
    called = ["move", "--kafka", bootstrap, "--from", "vitrine-fused", "--to", ",".join(SPLIT)]
    assert CliRunner().invoke(groups, called).exit_code == 0
    for group in SPLIT:
        committed = committed_offsets(bootstrap, group)
        assert (committed[UPLOADED, 0], committed[UPLOADED, 1]) == (4, 1)


def test_a_source_without_a_commit_holds_the_partition_at_its_start(client: AdminClient, bootstrap: str) -> None:
    commit(client, "vitrine-fraud", (0, 5), (1, 5))
    commit(client, "vitrine-embedding", (0, 5))
    carry_out(client, plan_move(client, bootstrap, ["vitrine-fraud", "vitrine-embedding"], ["vitrine-fused"]))
    committed = committed_offsets(bootstrap, "vitrine-fused")
    assert (committed[UPLOADED, 0], committed[UPLOADED, 1]) == (5, 0)


def test_a_dry_run_sets_nothing(client: AdminClient, bootstrap: str) -> None:
    commit(client, "vitrine-fraud", (0, 5))
    called = ["move", "--kafka", bootstrap, "--from", "vitrine-fraud", "--to", "vitrine-fused", "--dry-run"]
    assert CliRunner().invoke(groups, called).exit_code == 0
    assert group_names(client, bootstrap) == ["vitrine-fraud"]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("busy", ["vitrine-fraud", "vitrine-fused"])
def test_a_group_with_members_is_refused(client: AdminClient, bootstrap: str, protocol: str, busy: str) -> None:
    commit(client, "vitrine-fraud", (0, 5))
    settings = {"bootstrap.servers": bootstrap, "group.id": busy, "group.protocol": protocol}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.subscribe([UPLOADED])
    while not consumer.assignment():
        consumer.poll(0.1)
    try:
        with pytest.raises(CannotMove, match=rf"{busy} has 1 members \(stable\): stop those workers first, then move"):
            plan_move(client, bootstrap, ["vitrine-fraud"], ["vitrine-fused"])
    finally:
        consumer.close()


@pytest.mark.parametrize(
    ("sources", "targets", "said"),
    [
        (["vitrine-embedding"], ["vitrine-fused"], "there is no group vitrine-embedding"),
        (["vitrine-fruad"], ["vitrine-fused"], "vitrine-fruad is no group of Vitrine's"),
        (["vitrine-fraud"], ["vitrine-fraud"], "cannot be both"),
        (["vitrine-join"], ["vitrine-fused"], "do not read the same topics"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(
    client: AdminClient, bootstrap: str, sources: list[str], targets: list[str], said: str
) -> None:
    with pytest.raises(CannotMove, match=said):
        plan_move(client, bootstrap, sources, targets)


# --- the lag exporter -------------------------------------------------------------------------------------------------


def metric(name: str, **labels: str) -> float | None:
    return LAG.get_sample_value(name, labels)


def test_lag_and_age_are_exported_without_any_worker_and_vanish_with_the_group(
    client: AdminClient, bootstrap: str
) -> None:
    old = int(time.time() - 3600) * 1000
    produce(bootstrap, UPLOADED, [(5, b"z", 0)], timestamp=old)
    commit(client, "vitrine-fraud", (0, 5), (1, 4))
    timestamps = Timestamps(bootstrap)
    exporter = LagExporter(client, bootstrap, timestamps, clock=lambda: old / 1000 + 4000)
    exporter.read()
    lag, age = "vitrine_group_lag_records", "vitrine_group_oldest_record_age_seconds"
    assert metric(lag, group="vitrine-fraud", topic=UPLOADED, partition="0") == 0
    assert metric(lag, group="vitrine-fraud", topic=UPLOADED, partition="1") == 1
    assert metric(lag, group="vitrine-fraud", topic=UPLOADED, partition="5") == 1
    assert metric(age, group="vitrine-fraud", topic=UPLOADED) == 4000
    assert metric("vitrine_lag_last_read_timestamp_seconds") == old / 1000 + 4000
    client.delete_consumer_groups(["vitrine-fraud"])["vitrine-fraud"].result()
    exporter.read()
    timestamps.close()
    assert metric(lag, group="vitrine-fraud", topic=UPLOADED, partition="1") is None
    assert metric(age, group="vitrine-fraud", topic=UPLOADED) is None


def test_two_groups_at_different_records_of_one_partition_have_their_own_age(
    client: AdminClient, bootstrap: str
) -> None:
    produce(bootstrap, UPLOADED, [(7, b"z", 0)], timestamp=1_000_000)
    produce(bootstrap, UPLOADED, [(7, b"z", 1)], timestamp=2_000_000)
    everything = [(n, 100) for n in range(IMAGE_UPLOADED.partitions) if n != 7]
    commit(client, "vitrine-fraud", (7, 0), *everything)
    commit(client, "vitrine-embedding", (7, 1), *everything)
    timestamps = Timestamps(bootstrap)
    LagExporter(client, bootstrap, timestamps, clock=lambda: 3000.0).read()
    timestamps.close()
    age = "vitrine_group_oldest_record_age_seconds"
    assert metric(age, group="vitrine-fraud", topic=UPLOADED) == 2000
    assert metric(age, group="vitrine-embedding", topic=UPLOADED) == 1000


def test_what_retention_took_before_a_group_committed_it_is_exported(client: AdminClient, bootstrap: str) -> None:
    produce(bootstrap, UPLOADED, [(8, b"z", n) for n in range(6)])
    commit(client, "vitrine-fraud", (8, 2))
    commit(client, "vitrine-embedding", (8, 5))
    taken = TopicPartition(UPLOADED, 8, 5)
    client.delete_records([taken])[taken].result()  # as retention does
    timestamps = Timestamps(bootstrap)
    LagExporter(client, bootstrap, timestamps).read()
    timestamps.close()
    lost = "vitrine_group_lost_records"
    assert metric(lost, group="vitrine-fraud", topic=UPLOADED, partition="8") == 3
    assert metric(lost, group="vitrine-embedding", topic=UPLOADED, partition="8") == 0


def exported(bootstrap: str, *expected: str) -> str:
    """The metrics of an exporter's process, which then has to end on SIGTERM."""
    port = free_port()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    env |= {"VITRINE_KAFKA": bootstrap, "VITRINE_METRICS_PORT": str(port)}
    env |= {"VITRINE_EXPECTED_GROUPS": ",".join(expected)}
    with subprocess.Popen([sys.executable, "-m", "services.lag"], env=env) as process:
        try:
            ready(f"http://127.0.0.1:{port}/readyz", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                metrics: str = answer.read().decode()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    return metrics


def test_the_exporter_runs_as_a_process_and_ends_on_sigterm(client: AdminClient, bootstrap: str) -> None:
    commit(client, "vitrine-embedding", (0, 2))
    metrics = exported(bootstrap, "vitrine-fraud")
    assert f'vitrine_group_lag_records{{group="vitrine-embedding",partition="0",topic="{UPLOADED}"}} 3.0' in metrics
    assert f'vitrine_group_lag_records{{group="vitrine-fraud",partition="0",topic="{UPLOADED}"}} 5.0' in metrics


def test_the_exporter_outlives_a_broker_that_does_not_coordinate_the_groups_yet(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with KafkaServer(tmp_path_factory.mktemp("kafka"), kafka_jars(home())) as server:
        create_topics(server.bootstrap)
        metrics = exported(server.bootstrap, *READS)
    assert metrics.count("vitrine_group_lag_records{") == sum(
        topic.partitions for read in READS.values() for topic in read
    )


def ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.URLError:  # not listening yet, or 503
            time.sleep(0.1)
    pytest.fail(f"{url} never answered")


def test_a_broker_that_is_away_makes_the_exporter_unready_and_does_not_end_it() -> None:
    class Away:
        readings = 0

        def read(self) -> None:
            self.readings += 1
            if self.readings == 3:
                stop.set()
            raise Transient("no Kafka broker answers")

    stop, health, exporter = threading.Event(), Health(), Away()
    export(exporter, health, 0.001, stop)  # type: ignore[arg-type]
    assert exporter.readings == 3
    port = serve_health(health, "127.0.0.1", 0)
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
    assert answer.value.code == 503
    assert b"no Kafka broker answers" in answer.value.read()
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5).status == 200


# --- dead letters -----------------------------------------------------------------------------------------------------


def lay_down(bootstrap: str, event: Event) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(event.topic.name, key=event.key, value=event.value, headers=dict(event.headers))
    assert producer.flush(20) == 0


@pytest.fixture(scope="module")
def letters(bootstrap: str) -> str:
    """A photo that could not be read, bytes that are no message, and a removal, a listing and a result for the join."""
    upload = image_pb2.ImageUploaded(listing_id="l1", revision=7, seller_id="s1")
    record = Record(Assignment(UPLOADED, 3), 42, b"l1", upload.SerializeToString(), {"ce_id": b"abc"})
    lay_down(
        bootstrap, as_dead_letter(Rejected(record, "fraud", "prepare", "unreadable", "truncated JPEG"), "builtin@1")
    )
    garbage = Record(Assignment(UPLOADED, 4), 43, b"l2", b"\xff\x00not a message")
    lay_down(bootstrap, as_dead_letter(Rejected(garbage, "embedding", "fetch", "undecodable", "no"), "builtin@1"))
    removal = changed("l3", 7, removed=listing_pb2.ListingRemoved(reason="takedown"))
    listing = changed("l4", 7, listing=listing_pb2.Listing(seller_id="s4"))
    result = image_pb2.ImageEmbedded(assessment=image_pb2.Assessment(listing_id="l5"), space="builtin@1")
    refused = (("listing.changed", removal), ("listing.changed", listing), ("image.embedded", result))
    for offset, (topic, message) in enumerate(refused):
        record = Record(Assignment(topic, 0), offset, b"other", message.SerializeToString())
        lay_down(bootstrap, as_dead_letter(Rejected(record, "join", "join", "invalid", "the key is b'other'"), ""))
    return bootstrap


def changed(listing_id: str, revision: int, **change: Any) -> listing_pb2.ListingChanged:
    return listing_pb2.ListingChanged(listing_id=listing_id, revision=revision, **change)


def test_dead_letters_are_listed_with_where_they_came_from(letters: str) -> None:
    result = CliRunner().invoke(dlq, ["list", "--kafka", letters, "--json"])
    assert result.exit_code == 0, result.output
    first, second, *_ = [json.loads(line) for line in result.output.splitlines()]
    assert (first["offset"], first["task"], first["stage"], first["code"]) == (0, "fraud", "prepare", "unreadable")
    assert (first["listing"], first["origin"]) == ("l1", f"{UPLOADED}/3@42")
    assert second["listing"] == "l2"


def test_dead_letters_are_filtered_and_the_newest_win(letters: str) -> None:
    by_code = CliRunner().invoke(dlq, ["list", "--kafka", letters, "--json", "--code", "unreadable"])
    assert [json.loads(line)["offset"] for line in by_code.output.splitlines()] == [0]
    newest = CliRunner().invoke(dlq, ["list", "--kafka", letters, "--json", "--limit", "1"])
    assert [json.loads(line)["offset"] for line in newest.output.splitlines()] == [4]
    by_task = CliRunner().invoke(dlq, ["list", "--kafka", letters, "--json", "--task", "join"])
    assert [json.loads(line)["offset"] for line in by_task.output.splitlines()] == [2, 3, 4]


def test_the_list_names_the_seller_where_the_record_does(letters: str) -> None:
    result = CliRunner().invoke(dlq, ["list", "--kafka", letters, "--json"])
    assert [json.loads(line)["seller"] for line in result.output.splitlines()] == ["s1", "", "", "s4", ""]
    table = CliRunner().invoke(dlq, ["list", "--kafka", letters]).output
    assert "seller" in table and "s4" in table


def test_the_help_names_every_task_that_writes_dead_letters() -> None:
    said = " ".join(CliRunner().invoke(dlq, ["list", "--help"]).output.split())
    assert "classification, attributes, embedding, fraud or join." in said


def test_listing_joins_no_group(letters: str, client: AdminClient) -> None:
    assert CliRunner().invoke(dlq, ["list", "--kafka", letters]).exit_code == 0
    assert [group.group_id for group in client.list_consumer_groups().result().valid] == []


def test_a_dead_letter_is_shown_decoded_with_its_headers(letters: str) -> None:
    result = CliRunner().invoke(dlq, ["show", "0", "--kafka", letters, "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)
    assert shown["headers"]["dlq_message"] == "truncated JPEG"
    assert shown["headers"]["ce_id"] == "abc"
    assert shown["image_uploaded"]["listing_id"] == "l1"


@pytest.mark.parametrize(
    ("offset", "name", "content"),
    [
        (2, "listing_changed", {"listing_id": "l3", "revision": "7", "removed": {"reason": "takedown"}}),
        (3, "listing_changed", {"listing_id": "l4", "revision": "7", "listing": {"seller_id": "s4"}}),
        (4, "image_embedded", {"assessment": {"listing_id": "l5"}, "space": "builtin@1"}),
    ],
)
def test_what_the_join_refused_is_shown_as_what_its_topic_holds(
    letters: str, offset: int, name: str, content: dict[str, Any]
) -> None:
    as_json = CliRunner().invoke(dlq, ["show", str(offset), "--kafka", letters, "--json"])
    assert json.loads(as_json.output)[name] == content
    plain = CliRunner().invoke(dlq, ["show", str(offset), "--kafka", letters])
    assert f"\n{name.title().replace('_', '')}\n" in plain.output


def test_bytes_that_are_no_message_are_shown_in_hex(letters: str) -> None:
    result = CliRunner().invoke(dlq, ["show", "1", "--kafka", letters])
    assert result.exit_code == 0, result.output
    assert "ff 00 6e 6f 74" in result.output


def test_an_offset_that_is_not_there_says_which_are(letters: str) -> None:
    result = CliRunner().invoke(dlq, ["show", "9", "--kafka", letters])
    assert result.exit_code == 1
    assert "offsets 0 to 4" in result.output
