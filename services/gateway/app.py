"""The HTTP interface. It reads requests, asks the intake or the lookup, and words the answers."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from opentelemetry import trace
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway import answers
from services.gateway.callers import Caller, caller_of
from services.gateway.claims import ListingClaims, SellerId, parse_claims
from services.gateway.form import Form, body_too_large, empty_body, read_form
from services.gateway.intake import Intake
from services.gateway.lookup import Lookup, View
from services.gateway.problems import MEDIA_TYPE, Problem, ProblemDetails, response_of
from services.gateway.quotas import PhotoRate, Uploads, photos_of
from services.gateway.settings import GatewaySettings
from shared.errors import Transient
from shared.metrics import HTTP_SECONDS, INTAKE, REFUSED, export
from shared.photo_formats import MEDIA_TYPES, NAMES
from shared.photo_store import StoreFull
from shared.product_taxonomy import LANGUAGES, language_of
from shared.tracing import current_trace_id, extracted, tracer

log = structlog.get_logger()

ListingId = Annotated[
    str,
    Path(
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Letters, digits, dot, dash and underscore; at most 64",
        examples=["0a4f8c0d7a3e4a0f9a6b1d2c3e4f5a6b"],
    ),
]
ForWhom = Annotated[
    View,
    Query(
        description="shopper: nothing of fraud; seller: the decision and its reasons; reviewer: also whose the "
        "originals of copies are, for callers who may review",
    ),
]
Languages = Annotated[
    str,
    Header(
        alias="Accept-Language",
        description=f"Of the categories' names, which there are in {', '.join(LANGUAGES)}; English for others",
        examples=["de-AT, de;q=0.9, en;q=0.5"],
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable ASCII characters of the caller's choice. A repeat of the request with the same "
        "key is answered the same and happens once.",
        examples=["7d0c0a52-35f6-4a7f-9e3b-0d5f2c0b9f11"],
    ),
]


KeyAsked = Annotated[
    str, Query(pattern="^[ -~]{1,255}$", description="An Idempotency-Key, used or not", examples=["shop-7/item-1"])
]


def create_app(
    intake: Intake,
    lookup: Lookup,
    settings: GatewaySettings,
    *,
    photo_rate: PhotoRate | None = None,
    caller_of: Callable[[HTTPConnection], Caller] = caller_of,
) -> FastAPI:
    """The application. Probes and metrics are answered elsewhere (shared/health.py)."""
    app = FastAPI(title="Vitrine gateway", version="1", docs_url=None, redoc_url=None)
    uploads = Uploads(settings)
    rate = photo_rate or PhotoRate(settings.caller_photos_per_minute)
    export(INTAKE)

    @asynccontextmanager
    async def upload(request: Request) -> AsyncIterator[Form]:
        """What the request carries, held and counted for its caller until it is dealt with. Raises Problem."""
        caller = caller_of(request)
        caller.needs("upload")
        rate.check(caller.subject)
        with uploads.begun(caller.subject) as lease:
            form = await read_form(request.stream(), _content_type(request), settings, lease)
            form = replace(form, caller=caller.subject)
            claims = parse_claims(form.listing)
            caller.speaks_for(claims.seller_id)
            rate.spend(caller.subject, photos_of(form, claims))
            yield form

    @app.post(
        "/v1/listings",
        status_code=202,
        responses=_refusals(400, 403, 408, 413, 415, 422, 429, 503),
        openapi_extra=_FORM,
    )
    async def create_listing(
        request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> answers.Accepted:
        """Upload a new listing: its photos and what the seller says of it.

        Answered after the broker has acknowledged. Repeating it with the same Idempotency-Key is one upload.
        """
        _check_request(request, idempotency_key, settings)
        async with upload(request) as form:
            change = await intake.create(form, idempotency_key)
        response.headers["Location"] = f"/v1/listings/{change.listing_id}"
        return answers.accepted(change)

    @app.put(
        "/v1/listings/{listing_id}",
        status_code=202,
        responses=_refusals(400, 403, 408, 409, 410, 413, 415, 422, 429, 503),
        openapi_extra=_FORM,
    )
    async def replace_listing(
        request: Request, listing_id: ListingId, idempotency_key: IdempotencyKey = None
    ) -> answers.Accepted:
        """State a whole new revision of a listing; what is not stated again ceases, photos too.

        A photo that the listing already has can be named by its sha256 instead of being sent again. An unknown id
        creates the listing under it, and the listing is this seller's from then on. Of two revisions the later wins, in
        whichever order they arrive.
        """
        _check_request(request, idempotency_key, settings)
        async with upload(request) as form:
            change = await intake.replace(listing_id, form, idempotency_key)
        return answers.accepted(change)

    @app.delete("/v1/listings/{listing_id}", status_code=202, responses=_refusals(403, 404, 422, 429, 503))
    async def remove_listing(request: Request, listing_id: ListingId) -> answers.Removed:
        """Take a listing down, for good.

        Doing so again is answered the same. An upload that is still on its way doesn't bring it back.
        """
        caller = caller_of(request)
        caller.needs("upload")
        rate.check(caller.subject)
        rate.spend(caller.subject, 1)
        if (owner := await intake.owner(listing_id)) is not None:
            caller.speaks_for(owner)
        if (change := await intake.remove(listing_id)) is None:
            raise _no_such_listing(listing_id)
        return answers.Removed(listing_id=listing_id, revision=change.revision)

    @app.get("/v1/listing-id", responses=_refusals(403, 422, 503))
    async def get_listing_id(
        request: Request, seller_id: Annotated[SellerId, Query(examples=["seller-42"])], key: KeyAsked
    ) -> answers.ListingId:
        """The id that an upload of this seller with this Idempotency-Key has, or would have.

        Whoever knows its listings by names of its own, and sends them as keys, needs to remember no ids.
        """
        caller_of(request).speaks_for(seller_id)
        return answers.ListingId(listing_id=await intake.listing_id(seller_id, key))

    @app.get("/v1/listings/{listing_id}", responses=_refusals(403, 404, 422, 503))
    async def get_listing(
        request: Request, response: Response, listing_id: ListingId, view: ForWhom = "seller", languages: Languages = ""
    ) -> answers.Listing:
        """What was found in a listing's photos so far.

        From the answer to its DELETE on a listing is not found, whether the join has heard of the removal yet or not.
        """
        if view == "reviewer":
            caller_of(request).needs("review")
        if await intake.is_removed(listing_id):
            raise _no_such_listing(listing_id)
        language = language_of(languages)
        response.headers.update({"Content-Language": language, "Vary": "Accept-Language"})
        if (joined := await _looked_up(lookup, listing_id, view, language)) is not None:
            return joined
        if view != "shopper" and await intake.has_accepted(listing_id):
            return answers.pending(listing_id)
        raise _no_such_listing(listing_id)

    _word_refusals(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_middleware(Observed)
    return app


class Observed:
    """Continues the caller's trace, times every request, and answers for what nobody foresaw.

    Outermost, so that refusals are timed too, and within the span, so that a fault's log line and answer name it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0  # nothing answered yet

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        context = extracted({name.decode("latin-1"): value for name, value in scope["headers"]})
        began = time.perf_counter()
        with tracer.start_as_current_span(scope["method"], context, trace.SpanKind.SERVER):
            try:
                await self._app(scope, receive, noting)
            except Exception:
                log.exception("request failed", method=scope["method"], path=scope["path"])
                if status:
                    raise
                await _fault()(scope, receive, noting)
            finally:
                route = getattr(scope.get("route"), "path", "unknown")
                HTTP_SECONDS.labels(_method(scope), route, status).observe(time.perf_counter() - began)


def _method(scope: Scope) -> str:
    """A label must not be of the caller's invention."""
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return scope["method"] if scope["method"] in known else "other"


async def _looked_up(lookup: Lookup, listing_id: str, view: View, language: str) -> answers.Listing | None:
    try:
        record = await lookup.get(listing_id, view, language)
    except Transient as why:
        log.warning("lookup failed", error=str(why))
        detail = "The recommendation service did not answer. Uploads are not affected."
        raise Problem("lookup-unavailable", detail, "Repeat the request in a few seconds.") from why
    return None if record is None else answers.listing(record)


def _no_such_listing(listing_id: str) -> Problem:
    return Problem(
        "no-such-listing",
        f"There is no listing {listing_id}: it was never uploaded, or was taken down.",
        "Check the id; it is the listing_id that was answered to the upload.",
        {"parameter": "listing_id"},
    )


# --- requests ---------------------------------------------------------------------------------------------------------


_MOST_DIGITS = 18  # of a length that is looked at; Python makes no number of some thousands


def _check_request(request: Request, key: str | None, settings: GatewaySettings) -> None:
    """What can be refused before the body is read."""
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Problem(
            "bad-idempotency-key",
            f"The Idempotency-Key has {len(key)} characters or some that are not printable ASCII.",
            "Take a UUID, for example.",
            {"header": "Idempotency-Key"},
        )
    length = request.headers.get("content-length", "")
    if length in ("", "0") and "transfer-encoding" not in request.headers:
        raise empty_body()
    if length.isdecimal() and (len(length) > _MOST_DIGITS or int(length) > settings.max_body_bytes):
        raise body_too_large(settings)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "")


# --- refusals ---------------------------------------------------------------------------------------------------------


def _word_refusals(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def _problem(_request: Request, why: Problem) -> JSONResponse:
        return _refused(why)

    @app.exception_handler(Transient)
    async def _store_away(_request: Request, why: Transient) -> JSONResponse:
        log.warning("photo store away", error=str(why))
        said = "is full" if isinstance(why, StoreFull) else "can't be used now"
        detail = f"The photo store {said}; nothing was accepted."
        return _refused(Problem("store-unavailable", detail, "Repeat the request in a few seconds."))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, why: RequestValidationError) -> JSONResponse:
        place, *rest = why.errors()[0]["loc"]
        name = ".".join(map(str, rest))
        where = {"header" if place == "header" else "parameter": name}
        told = f"{name}: {why.errors()[0]['msg']}."
        return _refused(Problem("invalid-request", told, "See /openapi.json for what is expected.", where))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, why: HTTPException) -> JSONResponse:
        codes = {404: "no-such-page", 405: "method-not-allowed"}
        # Not request.url: it can't be made with every Host that clients send.
        detail = f"{request.method} {request.scope['path']} is answered with {why.status_code}: {why.detail}."
        problem = Problem(codes.get(why.status_code, "http-error"), detail, "/openapi.json lists what there is.")
        return _refused(problem, why.headers)

    @app.exception_handler(ClientDisconnect)
    async def _gone(_request: Request, _why: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; it tells in the metrics


def _fault() -> JSONResponse:
    detail = "The gateway failed at this request. It is in its log."
    return _refused(Problem("internal-error", detail, "Repeat it later; if it fails again, report its trace_id."))


def _refused(why: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    REFUSED.labels(why.code).inc()
    return response_of(why, current_trace_id(), headers)


# --- OpenAPI ----------------------------------------------------------------------------------------------------------

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["listing"],
                    "properties": {
                        "listing": {"$ref": "#/components/schemas/ListingClaims"},
                        "photos": {
                            "type": "array",
                            "description": f"One part for each photo: {NAMES}",
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                },
                "encoding": {
                    "listing": {"contentType": "application/json"},
                    "photos": {"contentType": ", ".join(dict.fromkeys(MEDIA_TYPES.values()))},
                },
            }
        },
    }
}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    return {status: {"description": "Refused", "content": {MEDIA_TYPE: schema}} for status in statuses}


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description="Takes product photos in and tells what was found in them.",
            routes=app.routes,
        )
        schemas = schema["components"]["schemas"]
        for model in (ListingClaims, ProblemDetails):
            schemas.update(_components(model))
        app.openapi_schema = schema
    return app.openapi_schema


def _components(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}
