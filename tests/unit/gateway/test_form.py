"""A form is read as RFC 7578 and RFC 2046 say, and no byte in it is more than its sender's mistake."""

import json
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.gateway.claims import parse_claims
from services.gateway.form import Form, read_form
from services.gateway.problems import Problem
from services.gateway.quotas import Uploads
from services.gateway.settings import GatewaySettings
from tests.gateway import CLAIMS

BOUNDARY = b"XX"
LISTING = b'--XX\r\nContent-Disposition: form-data; name="listing"\r\n\r\n' + json.dumps(CLAIMS).encode() + b"\r\n"
PHOTO = b'--XX\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\na photo\r\n'
END = b"--XX--\r\n"
WHOLE = LISTING + PHOTO + END
SETTINGS = GatewaySettings(max_photos=2, max_photo_bytes=100_000, max_listing_bytes=1000)


async def read(body: bytes, piece: int = 65536, content_type: str = "multipart/form-data; boundary=XX") -> Form:
    async def stream() -> AsyncIterator[bytes]:
        for at in range(0, len(body), piece):
            yield body[at : at + piece]

    with Uploads(SETTINGS).begun("someone") as lease:
        return await read_form(stream(), content_type, SETTINGS, lease)


def named(disposition: bytes) -> bytes:
    return LISTING + b"--XX\r\nContent-Disposition: form-data; name=photos; " + disposition + b"\r\n\r\na\r\n" + END


# --- preamble and epilogue --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 65536])
@pytest.mark.parametrize(
    "preamble",
    [
        b"This is a multi-part message in MIME format.\r\n",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"two\r\nlines\r\n",
        b"--\r\n--X\r\n",
        b"in a line --XX\r\n",
        b"\0\xff\r\n" * 1000,
        b"-" * 100_000 + b"\r\n",
    ],
)
async def test_what_comes_before_the_first_boundary_is_ignored(preamble: bytes, piece: int) -> None:
    body = preamble[-(3000 if piece < 10 else len(preamble)) :] + WHOLE
    assert await read(body, piece) == await read(WHOLE)


@pytest.mark.parametrize("piece", [1, 65536])
@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"an epilogue", b"\r\n" + PHOTO, b"\0\xff" * 1000])
async def test_what_comes_after_the_last_boundary_is_ignored(epilogue: bytes, piece: int) -> None:
    for end in (b"--XX--", END):
        assert await read(LISTING + PHOTO + end + epilogue, piece) == await read(WHOLE)


async def test_a_body_in_which_the_boundary_never_comes_says_so() -> None:
    with pytest.raises(Problem, match=r"malformed-form: .*boundary “XX” .*never") as caught:
        await read(b"--YY\r\n" * 1000)
    assert caught.value.type.status == 400


# --- memory -----------------------------------------------------------------------------------------------------------

OTHER_PART = b'--XX\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n'
TOO_LARGE = PHOTO[:-2] + b"a" * 110_000 + b"\r\n"


@pytest.mark.parametrize("fault", [OTHER_PART, LISTING, TOO_LARGE, PHOTO * 3])
async def test_after_a_fault_nothing_is_held_while_the_rest_arrives(fault: bytes) -> None:
    taken: list[int] = []

    class Counting:
        def take(self, size: int) -> None:
            taken.append(size)

        def give_back(self) -> None:
            taken.clear()

    held: list[int] = []

    async def stream() -> AsyncIterator[bytes]:
        for piece in (LISTING, PHOTO[:-2] + b"a" * 90_000 + b"\r\n", fault, b"the rest"):
            yield piece
            held.append(sum(taken))

    with pytest.raises(Problem):
        await read_form(stream(), "multipart/form-data; boundary=XX", SETTINGS, Counting())
    assert held[1] > 90_000 and held[2:] == [0, 0]


# --- file names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.jpg", "照片.jpg", "Фото.jpg", "19€.jpg", "👕.jpg", "é.jpg", "a;b.jpg", "a b.jpg", "q'.jpg"]
)
async def test_a_file_name_is_what_was_sent(name: str) -> None:
    assert (await read(named(b'filename="' + name.encode() + b'"'))).files[0].filename == name


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"filename*=UTF-8''%E7%85%A7%E7%89%87.jpg", "照片.jpg"),
        (b"filename*=utf-8'zh'%e7%85%a7%e7%89%87.jpg", "照片.jpg"),
        (b"filename*=iso-8859-1''caf%E9.jpg", "café.jpg"),
        (b"filename*=\"UTF-8''%E7%85%A7.jpg\"", "照.jpg"),
        (b"filename=\"plain.jpg\"; filename*=UTF-8''%E7%85%A7.jpg", "照.jpg"),
        (b"filename*=UTF-8''%FF%FE.jpg", "��.jpg"),
        (b"filename*=no-such-charset''a.jpg", None),
        (b"filename*=UTF-8", None),
        (b"filename*=''", None),
        (b'filename="\xd5\xd5\xc6\xac.jpg"', "��Ƭ.jpg"),  # GBK
        (b'filename="\xff\xfe\x00"', "��\0"),
        (b'filename="C:\\fakepath\\a.jpg"', "a.jpg"),
        (b'filename="a\\"b.jpg"', 'a"b.jpg'),
        (b'filename="', '"'),
        (b"filename=", ""),
        (b"filename", None),
    ],
)
async def test_a_file_name_in_any_other_form_is_read_as_far_as_it_can_be(sent: bytes, name: str | None) -> None:
    filename = (await read(named(sent))).files[0].filename
    assert filename == name or filename == ""


# --- any bytes --------------------------------------------------------------------------------------------------------

MARKS = (b"--XX", b"--XX--", b"\r\n", b"\r", b"\n", b"--", b"XX", b":", b'"', b"%", b"\0", b"\xff\xfe", b"\r\n\r\n")
WORDS = (b"Content-Disposition: form-data", b"; name=", b"; filename*=UTF-8''", b"*0*=", "照片".encode())
PIECES = st.sampled_from((LISTING, PHOTO, END, *MARKS, *WORDS))
BODIES = st.lists(PIECES | st.binary(max_size=30), max_size=12).map(b"".join)
BOUNDED = settings(max_examples=300, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@BOUNDED
@given(body=BODIES, piece=st.sampled_from([1, 5, 65536]))
async def test_any_body_is_a_form_or_a_problem_of_its_sender(body: bytes, piece: int) -> None:
    try:
        form = await read(body, piece)
    except Problem as why:
        assert 400 <= why.type.status < 500
        json.dumps([why.detail, why.where]).encode()
    else:
        for file in form.files:
            (file.filename or "").encode()


@BOUNDED
@given(at=st.integers(0, len(WHOLE) - 1), put=st.binary(max_size=6), cut=st.integers(0, 6))
async def test_a_form_with_wrong_bytes_is_a_form_or_a_problem_of_its_sender(at: int, put: bytes, cut: int) -> None:
    await test_any_body_is_a_form_or_a_problem_of_its_sender.hypothesis.inner_test(  # type: ignore[attr-defined]
        WHOLE[:at] + put + WHOLE[at + cut :], 65536
    )


@BOUNDED
@given(header=st.text(st.characters(max_codepoint=255), max_size=60))
async def test_any_content_type_is_one_or_a_problem(header: str) -> None:
    for content_type in (header, f"multipart/form-data; {header}", f"multipart/form-data; boundary={header}"):
        try:
            await read(WHOLE, content_type=content_type)
        except Problem as why:
            assert 400 <= why.type.status < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(list(CLAIMS)) | st.text(), inner),
    max_leaves=20,
)


@BOUNDED
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=100))
def test_any_claims_are_claims_or_a_problem_of_their_sender(body: bytes) -> None:
    try:
        parse_claims(body).to_event()
    except Problem as why:
        assert 400 <= why.type.status < 500
        why.detail.encode()


@pytest.mark.parametrize("title", ['"\\ud800"', '"\\udfff x"', '"\\u0000"', '"\\ud83d\\ude00"', "[" * 20_000, "1e999"])
def test_odd_json_is_claims_or_a_problem_of_its_sender(title: str) -> None:
    test_any_claims_are_claims_or_a_problem_of_their_sender.hypothesis.inner_test(  # type: ignore[attr-defined]
        f'{{"seller_id": "s", "title": {title}}}'.encode()
    )


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"--XX\r\nContent-Disposition: form-data; name=photos\r\n\r\n\r\n" * 5000,
        LISTING + b"--XX\r\n\r\n\r\n" * 25_000,
        b"--X\r\n" * 60_000 + WHOLE,
        LISTING + PHOTO[:-2] + b"\r\n--X" * 20_000 + b"\r\n" + END,
    ],
)
async def test_a_small_body_costs_little_however_it_is_made(body: bytes) -> None:
    began = time.thread_time()
    try:
        await read(body)
    except Problem as why:
        assert 400 <= why.type.status < 500
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize("near", [b"\r\n--XXx", b"\r\n--XX\r", b"\r\n--XX-"])
@pytest.mark.parametrize("piece", [1000, 65536])
async def test_a_boundary_that_occurs_all_over_a_photo_is_refused(near: bytes, piece: int) -> None:
    """The parser goes through each byte by byte, and a line that begins with it is none of a photo's (RFC 2046)."""
    with pytest.raises(Problem, match=r"malformed-form: .* boundary comes more than 1000 times"):
        await read(LISTING + PHOTO[:-2] + near * 10_000 + b"\r\n" + END, piece)


async def test_a_boundary_that_occurs_in_a_photo_now_and_then_is_understood() -> None:
    body = LISTING + PHOTO[:-2] + b"\r\n--XXx" * 20 + b"\r\n" + END
    assert (await read(body)).files[0].body == b"a photo" + b"\r\n--XXx" * 20


async def test_after_the_first_fault_nothing_more_is_taken_apart() -> None:
    part = b"--XX\r\nContent-Disposition: form-data; name=other\r\n\r\n\r\n"
    began = time.thread_time()
    with pytest.raises(Problem, match="unknown-part"):
        await read(part * 4000, piece=4096)
    assert time.thread_time() - began < 0.05
