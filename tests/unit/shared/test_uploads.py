"""What a change asks of the workers."""

import pytest
from vitrine.events.v1 import image_pb2

from shared.uploads import uploads_of
from tests.joining import changed, removed


def test_each_photo_is_asked_for_as_of_when_the_change_was_accepted() -> None:
    change = changed("x", 7, ["a", "b"])
    change.accepted_at.FromMicroseconds(5)
    uploads = [image_pb2.ImageUploaded.FromString(event.value) for event in uploads_of(change, "rebuild")]
    assert [(u.photo.sha256, u.position, u.revision, u.uploaded_at.ToMicroseconds()) for u in uploads] == [
        ("a", 0, 7, 5),
        ("b", 1, 7, 5),
    ]


@pytest.mark.parametrize(
    ("revision", "uploaded_us"), [(1_772_357_400_000_000, 1_772_357_400_000_000), (2**62, 253_402_300_799_000_000)]
)
def test_of_a_change_that_does_not_say_when_its_revision_tells(revision: int, uploaded_us: int) -> None:
    """Else a rebuild would have everything uploaded in 1970, and a thief could be first by name."""
    (event,) = uploads_of(changed("x", revision, ["a"]), "rebuild")
    assert image_pb2.ImageUploaded.FromString(event.value).uploaded_at.ToMicroseconds() == uploaded_us


def test_asked_again_it_is_the_same_event_and_a_removal_asks_for_nothing() -> None:
    first, again = (uploads_of(changed("x", 7), source) for source in ("gateway", "rebuild"))
    assert [event.headers["ce_id"] for event in first] == [event.headers["ce_id"] for event in again]
    assert uploads_of(removed("x", 8), "gateway") == []
