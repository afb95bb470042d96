"""The routes of the server (FastAPI)."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from spinemamba import __version__
from spinemamba.protocol.remote.formats import (
    CAPABILITIES,
    CAPABILITY,
    HEALTH,
    JOB_ID,
    JOB_STATE,
    JOB_TYPE,
    JOBS,
    METRICS,
    Capabilities,
    JobState,
    RefusedRequest,
)
from spinemamba.protocol.remote.refusals import STATUS
from spinemamba.server.errors import RefusedError, no_such_job
from spinemamba.server.job import Job
from spinemamba.server.service import Service
from spinemamba.server.web.outer import Outer, address_of
from spinemamba.server.web.responses import FilesResponse, json_answer, refusal
from spinemamba.server.web.uploads import BodyReader, content_length, parse_request, receive_files

_OPENAPI = "/v1/openapi.json"
_JOB, _RESULT, _FILE = (
    f"{JOBS}/{{job_id}}",
    f"{JOBS}/{{job_id}}/result",
    f"{JOBS}/{{job_id}}/result/{{role}}",
)
_BINARY = {"schema": {"type": "string", "format": "binary"}}

_bearer = HTTPBearer(auto_error=False, description="Made with spinemamba server-token add.")


def make_app(service: Service) -> Outer:
    """Return the application."""
    app = FastAPI(
        title="spinemamba serve",
        version=__version__,
        openapi_url=None,
        docs_url=None,  # the page would load scripts of another site
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.exception_handler(RefusedError)(_refused)
    app.exception_handler(HTTPException)(_no_route)
    _add_job_routes(app)
    _add_other_routes(app)
    return Outer(app, service)


async def _client_of(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """Return the name of the token of a request; the body has not been read yet."""
    service: Service = request.app.state.service
    token = None if credentials is None else credentials.credentials
    return service.client_of(token, address_of(request.scope, service.settings))


Client = Annotated[str, Depends(_client_of)]


async def _post_job(request: Request, client: Client) -> Response:
    """Send a job: a line of JSON, then the files that it names."""
    service: Service = request.app.state.service
    try:
        with service.jobs.receiving(client):
            job = await _receive(request, client, service)
    except ClientDisconnect:
        service.metrics.count("uploads_refused")
        # Starlette needs an answer; the client is gone.
        return Response(status_code=400)
    except RefusedError:
        service.metrics.count("uploads_refused")
        raise
    location = {"Location": f"{JOBS}/{job.id}"}
    return json_answer(JOB_STATE, service.jobs.view(job), 201, **location)


async def _receive(request: Request, client: str, service: Service) -> Job:
    """Receive a job; nothing of it remains after an error."""
    length = content_length(request.headers, service.settings)
    body = BodyReader(request.stream(), length, service.settings.timeouts)
    line = await body.line()
    parsed = parse_request(line, length)
    service.check_model(getattr(parsed, "model", ""))
    if before := service.jobs.same_request(client, parsed.request_id):
        return before
    folder = service.jobs.new_folder()
    try:
        voxels = await receive_files(body, parsed, folder, service.settings)
        job = await asyncio.to_thread(service.jobs.add, client, parsed, folder, length)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(folder.erase))
        raise
    service.audit.add("received", client, job=job.id, voxels=voxels)
    return job


def _job_of(request: Request, client: str, job_id: str) -> tuple[Service, Job]:
    service: Service = request.app.state.service
    if re.fullmatch(JOB_ID, job_id) is None:
        raise no_such_job()
    return service, service.jobs.get(client, job_id)


async def _get_job(request: Request, client: Client, job_id: str) -> Response:
    """Return the state of a job."""
    service, job = _job_of(request, client, job_id)
    return json_answer(JOB_STATE, service.jobs.view(job))


async def _delete_job(request: Request, client: Client, job_id: str) -> Response:
    """Cancel a job, and erase everything of it."""
    service, job = _job_of(request, client, job_id)
    await asyncio.to_thread(service.jobs.cancel, job)
    return Response(status_code=204)


async def _get_result(request: Request, client: Client, job_id: str) -> Response:
    """Return the whole result: the state as a line of JSON, then its files."""
    service, job = _job_of(request, client, job_id)
    reading = service.jobs.reading(job)
    reading.__enter__()
    state = service.jobs.view(job)
    files = [(job.result_path(f), f.bytes) for f in state.files]

    def end(is_whole: bool) -> None:
        if is_whole:
            service.jobs.fetched(job)
        reading.__exit__(None, None, None)

    line = JOB_STATE.to_text(state, indent=None).encode()
    return FilesResponse(line, files, JOB_TYPE, end)


async def _get_file(request: Request, client: Client, job_id: str, role: str) -> Response:
    """Return one file of the result. Its result stays until it is fetched as a whole."""
    service, job = _job_of(request, client, job_id)
    reading = service.jobs.reading(job)
    reading.__enter__()
    file = next((file for file in job.files if file.role == role), None)
    if file is None:
        reading.__exit__(None, None, None)
        raise RefusedError("NOT_FOUND", "The result has no such file.", "Look at its state.")
    found = [(job.result_path(file), file.bytes)]
    return FilesResponse(
        b"", found, "application/octet-stream", lambda _: reading.__exit__(None, None, None)
    )


async def _health(request: Request) -> Response:
    """Tell whether the server can run jobs; needs no token."""
    if not all(thread.is_alive() for thread in request.app.state.service.devices):
        raise RefusedError("BUSY", "A device does not run jobs any more.", "Restart the server.")
    return Response(b'{"status": "ok"}\n', media_type="application/json")


async def _capabilities(request: Request, client: Client) -> Response:
    """Return what the server is and can do."""
    return json_answer(CAPABILITY, request.app.state.service.capabilities(client))


async def _metrics(request: Request, _: Client) -> Response:
    """Return counters for Prometheus."""
    text = request.app.state.service.metrics_text()
    return Response(text, media_type="text/plain; version=0.0.4")


async def _openapi(request: Request, _: Client) -> Response:
    """Return this description."""
    return JSONResponse(request.app.openapi())


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refusal(error)


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = next((c for c, status in STATUS.items() if status == error.status_code), "BAD_REQUEST")
    answer = refusal(
        RefusedError(code, "The server has no such address, or not with this method.", _ADDRESS)
    )
    answer.headers.update(error.headers or {})
    return answer


_ADDRESS = "Check the address of the server, and install the same version on both computers."


def _refusals(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the description of the refusals of a route."""
    common = ("UNAUTHORIZED", "TOO_MANY", "INTERNAL", "BUSY")
    return {
        STATUS[code]: {"model": RefusedRequest, "description": code} for code in (*codes, *common)
    }


def _add_job_routes(app: FastAPI) -> None:
    add = app.add_api_route
    body = {"requestBody": {"required": True, "content": {JOB_TYPE: _BINARY}}}
    codes = ("BAD_REQUEST", "TIMEOUT", "LENGTH_REQUIRED", "TOO_LARGE", "WRONG_TYPE", "INPUT_BAD")
    add(
        JOBS,
        _post_job,
        methods=["POST"],
        status_code=201,
        responses={201: {"model": JobState}, **_refusals(*codes, "DISK_FULL")},
        openapi_extra=body,
    )
    known = _refusals("NOT_FOUND")
    add(_JOB, _get_job, methods=["GET"], responses={200: {"model": JobState}, **known})
    add(_JOB, _delete_job, methods=["DELETE"], status_code=204, responses=known)
    ready = _refusals("NOT_FOUND", "NOT_READY", "ERASED")
    whole = {200: {"content": {JOB_TYPE: _BINARY}}, **ready}
    add(_RESULT, _get_result, methods=["GET"], responses=whole, response_class=Response)
    one = {200: {"content": {"application/octet-stream": _BINARY}}, **ready}
    add(_FILE, _get_file, methods=["GET"], responses=one, response_class=Response)


def _add_other_routes(app: FastAPI) -> None:
    add, refused = app.add_api_route, _refusals()
    text = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refused}
    busy = {STATUS["BUSY"]: {"model": RefusedRequest}}
    add(HEALTH, _health, methods=["GET"], responses=busy)
    add(
        CAPABILITIES,
        _capabilities,
        methods=["GET"],
        responses={200: {"model": Capabilities}, **refused},
    )
    add(METRICS, _metrics, methods=["GET"], responses=text, response_class=Response)
    add(_OPENAPI, _openapi, methods=["GET"], responses=refused)
