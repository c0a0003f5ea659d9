"""One trunk forward per batch, whatever is asked of it; and the tasks that ask."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from vitrine.events.v1 import image_pb2

from services.classification.task import ClassificationTask
from services.embedding.task import EmbeddingTask
from shared.photos import Photo, Pixels
from shared.vision.pack import CANDIDATE_FROM, MOST_CANDIDATES, Pack, open_pack
from shared.vision.reader import Reader
from shared.vision.taxonomy import Judgement
from tests.fakes_vision import BUILTIN


class CountingTrunk:
    """Features that depend on the photo's brightness alone."""

    def __init__(self) -> None:
        self.forwards: list[int] = []

    def features(self, inputs: list[Pixels]) -> NDArray[np.float32]:
        self.forwards.append(len(inputs))
        return np.stack(
            [np.random.default_rng(int(x.mean())).random(BUILTIN.trunk.widths.all, np.float32) for x in inputs]
        )


def photo(brightness: int) -> Photo:
    pixels = np.full((300, 400, 3), brightness, np.uint8)
    return Photo(b"", image_pb2.ImageUploaded(listing_id="a", revision=7), lambda _body, _size: pixels)


@pytest.fixture
def trunk() -> CountingTrunk:
    return CountingTrunk()


@pytest.fixture
def reader(trunk: CountingTrunk) -> Reader:
    return Reader(trunk, open_pack("builtin"))  # type: ignore[arg-type]


def test_all_questions_about_a_batch_cost_one_forward(reader: Reader, trunk: CountingTrunk) -> None:
    photos = [photo(n) for n in (1, 2, 3)]
    reader.see(photos)
    reader.categories(photos)
    reader.audiences(photos)
    reader.vectors(photos)
    assert trunk.forwards == [3]


def test_only_photos_not_seen_yet_go_through_the_trunk_and_order_is_kept(reader: Reader, trunk: CountingTrunk) -> None:
    first, second = photo(1), photo(2)
    alone = reader.vectors([second])[0]
    together = reader.vectors([first, second, first])
    assert trunk.forwards == [1, 1]
    assert np.array_equal(together[1], alone)
    assert np.array_equal(together[0], together[2])


def test_nothing_asked_is_nothing_answered(reader: Reader) -> None:
    assert reader.categories([]) == []
    assert reader.vectors([]).shape == (0, 256)


def test_answers_outlive_the_pixels(reader: Reader, trunk: CountingTrunk) -> None:
    seen = photo(1)
    reader.see([seen])
    seen.forget("input")
    assert len(reader.categories([seen])) == 1
    assert trunk.forwards == [1]


def test_an_answer_has_the_id_of_its_deepest_node_that_has_one(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [("garments", "t-shirt"), ("groceries", "Fruit", "Apple", "Granny-Smith"), ()]
    judged = [(Judgement(path, 0.9, complete=bool(path)), list[object]()) for path in paths]
    monkeypatch.setattr(Pack, "classify", lambda _pack, _features: judged)
    categories = reader.categories([photo(n) for n in (1, 2, 3)])
    assert [category.taxonomy_id for category in categories] == ["aa-1-13-8", "fb-2-10-7-1", ""]
    assert not any(category.display_name for category in categories), "events name nothing in any language"


def test_classification_answers_with_its_pack_and_the_uploads_revision(reader: Reader) -> None:
    task, shown = ClassificationTask(reader), photo(9)
    task.prepare(shown)
    (found,) = task.infer([shown], [None])
    (finding,) = task.conclude(shown, found)
    message = finding.message
    assert isinstance(message, image_pb2.ImageClassified)
    assert (message.assessment.pack, message.assessment.revision) == (BUILTIN.pack_name, 7)
    assert 0 <= message.category.confidence <= 1
    assert list(message.candidates) == reader.candidates([shown])[0]


def test_leaves_that_a_photo_may_show_are_few_with_their_ids_the_likeliest_first(reader: Reader) -> None:
    for leaves in reader.candidates([photo(n) for n in range(4)]):
        probabilities = [leaf.probability for leaf in leaves]
        assert len(leaves) <= MOST_CANDIDATES and sum(probabilities) <= 1
        assert probabilities == sorted(probabilities, reverse=True)
        assert all(probability >= CANDIDATE_FROM for probability in probabilities)
        assert [leaf.taxonomy_id for leaf in leaves] == [reader.meaning_of(leaf.path).taxonomy_id for leaf in leaves]
        assert sum(leaf.ByteSize() for leaf in leaves) < 1000, "results carry them, and so does Redis"


def test_a_photo_without_a_name_may_show_something_all_the_same() -> None:
    pack = open_pack("builtin")
    dear = replace(pack, manifest=pack.manifest.model_copy(update={"wrong_name": 1e6}))
    row = np.random.default_rng(1).random((1, BUILTIN.trunk.widths.all), np.float32)
    assert [judged.path for judged in dear.judge(row)] == [()]
    assert dear.classify(row)[0][1] == pack.classify(row)[0][1] != []


def test_embedding_answers_with_a_unit_vector_in_a_named_space(reader: Reader) -> None:
    task, shown = EmbeddingTask(reader), photo(9)
    task.prepare(shown)
    (found,) = task.infer([shown], [None])
    (finding,) = task.conclude(shown, found)
    message = finding.message
    assert isinstance(message, image_pb2.ImageEmbedded)
    assert message.space == BUILTIN.embedding.space
    assert np.linalg.norm(message.vector) == pytest.approx(1, abs=1e-4)


def test_warm_up_puts_a_known_good_photo_through_the_trunk(reader: Reader, trunk: CountingTrunk) -> None:
    reader.warm_up()
    assert trunk.forwards == [1]
