"""Every way in which the gateway says no, as RFC 9457 problem details: what was wrong, what to do, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.imaging import BadPhoto

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    status: HTTPStatus
    title: str


KINDS: Mapping[str, Kind] = {
    # the form
    "empty-body": Kind(HTTPStatus.BAD_REQUEST, "The request has no body"),
    "not-a-form": Kind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not multipart/form-data"),
    "malformed-form": Kind(HTTPStatus.BAD_REQUEST, "The multipart form can't be read"),
    "unknown-part": Kind(HTTPStatus.BAD_REQUEST, "The form has a part that is not known"),
    "missing-listing": Kind(HTTPStatus.BAD_REQUEST, "The form has no part named listing"),
    "upload-too-large": Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The upload is too large"),
    "upload-too-slow": Kind(HTTPStatus.REQUEST_TIMEOUT, "The upload took too long"),
    # the claims
    "listing-not-json": Kind(HTTPStatus.BAD_REQUEST, "The listing is not JSON"),
    "invalid-listing": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The listing is incomplete or wrong"),
    "updated-at-too-far-ahead": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "updated_at lies in the future"),
    "invalid-request": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is wrong"),
    # the photos
    "no-photos": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The listing has no photo"),
    "too-many-photos": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The listing has too many photos"),
    "unknown-photo": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo is named that this listing never had"),
    "empty-photo": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo is empty"),
    "photo-too-large": Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "A photo has too many bytes"),
    "not-a-photo": Kind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A file is not a photo"),
    "unsupported-type": Kind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A photo's type is not accepted"),
    "animated-photo": Kind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A photo is animated"),
    "damaged-photo": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo is damaged or incomplete"),
    "too-many-parts": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo's file has too many parts"),
    "profile-too-large": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo's colour profile is too large"),
    "too-many-pixels": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo has too many pixels"),
    "side-too-long": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo is too long or too wide"),
    "photo-too-small": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "A photo has too few pixels"),
    # repeats and order
    "bad-idempotency-key": Kind(HTTPStatus.BAD_REQUEST, "The Idempotency-Key can't be used"),
    "idempotency-key-reused": Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "The Idempotency-Key belongs to another upload"),
    "listing-removed": Kind(HTTPStatus.GONE, "The listing was taken down"),
    # lookups and the rest of HTTP
    "no-such-listing": Kind(HTTPStatus.NOT_FOUND, "No such listing"),
    "no-such-page": Kind(HTTPStatus.NOT_FOUND, "No such page"),
    "method-not-allowed": Kind(HTTPStatus.METHOD_NOT_ALLOWED, "The method is not allowed here"),
    "http-error": Kind(HTTPStatus.BAD_REQUEST, "The request can't be served"),
    # ours
    "busy": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Too many uploads at once"),
    "broker-unavailable": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "The event broker is away"),
    "store-unavailable": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "The photo store is away"),
    "lookup-unavailable": Kind(HTTPStatus.SERVICE_UNAVAILABLE, "Lookups are away"),
    "internal-error": Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "Something is wrong on our side"),
}

RETRY_AFTER_SECONDS = 5


class Problem(Exception):
    """Ends a request. `code` is one of KINDS; `where` points at the part of the request that is to blame."""

    def __init__(self, code: str, detail: str, remedy: str, where: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.kind = KINDS[code]
        self.detail = detail
        self.remedy = remedy
        self.where = where


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


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem on its way out."""

    problem: Problem
    trace_id: str | None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> JSONResponse:
        problem = self.problem
        status = int(problem.kind.status)
        body = ProblemDetails(
            type=f"urn:vitrine:problem:{problem.code}",
            title=problem.kind.title,
            status=status,
            detail=problem.detail,
            remedy=problem.remedy,
            where=Where(**problem.where) if problem.where else None,
            trace_id=self.trace_id,
        )
        headers = dict(self.headers)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return JSONResponse(body.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)
