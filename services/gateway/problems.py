"""Every way in which the gateway says no, as RFC 9457 problem details: what was wrong, what to do, and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.imaging import BadPhoto

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    status: HTTPStatus
    title: str


TYPES: Mapping[str, ProblemType] = {
    # the form
    "empty-body": ProblemType(HTTPStatus.BAD_REQUEST, "The request has no body"),
    "not-a-form": ProblemType(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not multipart/form-data"),
    "malformed-form": ProblemType(HTTPStatus.BAD_REQUEST, "The multipart form can't be read"),
    "unknown-part": ProblemType(HTTPStatus.BAD_REQUEST, "The form has a part that is not known"),
    "missing-listing": ProblemType(HTTPStatus.BAD_REQUEST, "The form has no part named listing"),
    "upload-too-large": ProblemType(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The upload is too large"),
    "upload-too-slow": ProblemType(HTTPStatus.REQUEST_TIMEOUT, "The upload took too long"),
    # the claims
    "listing-not-json": ProblemType(HTTPStatus.BAD_REQUEST, "The listing is not JSON"),
    "invalid-listing": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "The listing is incomplete or wrong"),
    "updated-at-too-far-ahead": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "updated_at lies in the future"),
    "invalid-request": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is wrong"),
    # the photos
    "no-photos": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "The listing has no photo"),
    "too-many-photos": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "The listing has too many photos"),
    "unknown-photo": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo is named that this listing never had"),
    "empty-photo": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo is empty"),
    "photo-too-large": ProblemType(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "A photo has too many bytes"),
    "not-a-photo": ProblemType(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A file is not a photo"),
    "unsupported-type": ProblemType(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A photo's type is not accepted"),
    "animated-photo": ProblemType(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A photo is animated"),
    "damaged-photo": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo is damaged or incomplete"),
    "too-many-parts": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo's file has too many parts"),
    "profile-too-large": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo's colour profile is too large"),
    "too-many-pixels": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo has too many pixels"),
    "side-too-long": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo is too long or too wide"),
    "photo-too-small": ProblemType(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo has too few pixels"),
    # repeats and order
    "bad-idempotency-key": ProblemType(HTTPStatus.BAD_REQUEST, "The Idempotency-Key can't be used"),
    "idempotency-key-reused": ProblemType(
        HTTPStatus.UNPROCESSABLE_ENTITY, "The Idempotency-Key belongs to another upload"
    ),
    "stale-revision": ProblemType(HTTPStatus.CONFLICT, "The listing has a newer revision"),
    "not-the-owner": ProblemType(HTTPStatus.FORBIDDEN, "The listing is another seller's"),
    "listing-removed": ProblemType(HTTPStatus.GONE, "The listing was taken down"),
    # who calls, and how much
    "not-allowed": ProblemType(HTTPStatus.FORBIDDEN, "The caller may not do this"),
    "too-many-uploads": ProblemType(HTTPStatus.TOO_MANY_REQUESTS, "The caller has too many uploads under way"),
    "too-many-photos-per-minute": ProblemType(
        HTTPStatus.TOO_MANY_REQUESTS, "The caller sends too many photos a minute"
    ),
    # lookups and the rest of HTTP
    "no-such-listing": ProblemType(HTTPStatus.NOT_FOUND, "No such listing"),
    "no-such-page": ProblemType(HTTPStatus.NOT_FOUND, "No such page"),
    "method-not-allowed": ProblemType(HTTPStatus.METHOD_NOT_ALLOWED, "The method is not allowed here"),
    "http-error": ProblemType(HTTPStatus.BAD_REQUEST, "The request can't be served"),
    # ours
    "busy": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "Too many uploads at once"),
    "broker-unavailable": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "The event broker is away"),
    "store-unavailable": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "The photo store is away"),
    "lookup-unavailable": ProblemType(HTTPStatus.SERVICE_UNAVAILABLE, "Lookups are away"),
    "internal-error": ProblemType(HTTPStatus.INTERNAL_SERVER_ERROR, "Something is wrong on our side"),
}

RETRY_AFTER_SECONDS = 5
_AGAIN_LATER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


class Problem(Exception):
    """Ends a request. `code` is one of TYPES; `where` points at the part of the request that is to blame."""

    def __init__(
        self,
        code: str,
        detail: str,
        remedy: str,
        where: Mapping[str, Any] | None = None,
        *,
        retry_after_seconds: int = RETRY_AFTER_SECONDS,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.type = TYPES[code]
        self.detail = detail
        self.remedy = remedy
        self.where = where
        self.retry_after_seconds = retry_after_seconds


def problem_of_photo(why: BadPhoto, where: Mapping[str, Any]) -> Problem:
    return Problem(why.code, why.message, why.remedy, where)


class Where(BaseModel):
    """The part of the request that is to blame."""

    part: str | None = Field(default=None, description="The form's part: listing or photos")
    index: int | None = Field(default=None, description="Which of the parts of that name, from 0")
    filename: str | None = Field(default=None, description="As sent with the part")
    field: str | None = Field(default=None, description="Path to the JSON field, such as price.amount")
    header: str | None = Field(default=None, description="The request header")
    parameter: str | None = Field(default=None, description="The path or query parameter")


class ProblemDetails(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:vitrine:problem:photo-too-small",
                    "title": "A photo has too few pixels",
                    "status": 422,
                    "detail": "The photo has 1 × 1 pixels; each side must have 32 at least.",
                    "remedy": "Send the photo in its original size, not its thumbnail.",
                    "where": {"part": "photos", "index": 1, "filename": "back.png"},
                    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                }
            ]
        }
    )

    type: str = Field(description="Stable; tells problems apart")
    title: str = Field(description="The same for every problem of this type")
    status: int = Field(description="That of the response")
    detail: str = Field(description="What was wrong with this request")
    remedy: str = Field(description="What to do about it")
    where: Where | None = None
    trace_id: str | None = Field(default=None, description="To be quoted to whoever runs the gateway")


def response_of(problem: Problem, trace_id: str | None, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """What tells the caller of the problem, with these headers beside its own."""
    status = int(problem.type.status)
    details = ProblemDetails(
        type=f"urn:vitrine:problem:{problem.code}",
        title=problem.type.title,
        status=status,
        detail=problem.detail,
        remedy=problem.remedy,
        where=Where(**problem.where) if problem.where else None,
        trace_id=trace_id,
    )
    headers = dict(headers or {})
    if status in _AGAIN_LATER:
        headers["Retry-After"] = str(problem.retry_after_seconds)
    return JSONResponse(details.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)
