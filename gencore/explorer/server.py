"""The addresses of the explorer.

/                                the models and runs
/{number}/{view}                 a view's form
/{number}/{view}/result  POST    what its command made, as a piece of a page
/output/{key}/{name}             the bytes that a command wrote
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from gencore.errors import GencoreError
from gencore.explorer import selecting
from gencore.explorer.commands import Kept, Output, result_of, run
from gencore.explorer.fields import Upload, harmless_name
from gencore.explorer.grids import newest_grids
from gencore.explorer.guard import Guard
from gencore.explorer.traits import Subject, Subjects

HERE = Path(str(resources.files("gencore.explorer")))
LOG = logging.getLogger("gencore.explorer")


def create_app(words: list[str], *, token: str | None = None) -> Guard:
    """The ASGI application for models and runs as the command line names them. `token`: what a browser must bring.

    Raises GencoreError for what is neither a model nor a run.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    Pages(words).add_to(app)
    return Guard(app, token=token)


class Pages:
    """The pages, and what they share: the subjects and the outputs that are kept."""

    def __init__(self, words: list[str]) -> None:
        self.subjects, self.kept = Subjects(words), Kept()
        loader = jinja2.FileSystemLoader(HERE / "templates")
        self.templates = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)

    def add_to(self, app: FastAPI) -> None:
        """Their addresses."""

        @app.get("/")
        def home() -> Response:
            first = next((s.views[0].name for s in self.all() if s.views), None)
            if len(self.subjects) == 1 and first:
                return RedirectResponse(f"/0/{first}", 303)
            return HTMLResponse(self.draw("home.html"))

        @app.get("/{number:int}/{view}")
        def page(number: int, view: str) -> Response:
            try:
                return HTMLResponse(self.page(number, view))
            except GencoreError as error:
                return self._said("problem.html", error, 404)

        @app.post("/{number:int}/{view}/result")
        async def result(number: int, view: str, request: Request) -> Response:
            return await self._piece(self.result, number, view, await _given(request))

        @app.post("/{number:int}/{view}/select")
        async def select(number: int, view: str, request: Request) -> Response:
            return await self._piece(self.selected, number, view, await _given(request))

        @app.get("/output/{key}/{name}")
        def output(key: str, name: str) -> Response:
            try:
                found = self.kept.get(key)
            except GencoreError as error:
                return self._said("error.html", error, 404)
            return Response(found.content, media_type=found.kind, headers={"cache-control": "private, max-age=3600"})

    async def _piece(self, make: Callable[..., str], *given: Any) -> Response:
        """A piece of a page, made in a thread of its own; an error as one."""
        try:
            return HTMLResponse(await run_in_threadpool(make, *given))
        except GencoreError as error:
            return self._said("error.html", error, 422)
        except Exception as error:
            LOG.exception("a view failed")
            told = GencoreError(f"This failed inside gencore: {type(error).__name__}: {error}")
            return self._said("error.html", told, 500)

    def _said(self, template: str, error: GencoreError, status: int) -> Response:
        return HTMLResponse(self.draw(template, message=str(error)), status)

    def all(self) -> list[Subject]:
        """All models and runs."""
        return [self.subjects[number] for number in range(len(self.subjects))]

    def draw(self, template: str, **values: Any) -> str:
        """A page or a piece of one."""
        text: str = self.templates.get_template(template).render(subjects=self.all(), **values)
        return text

    def page(self, number: int, name: str) -> str:
        """A view's form."""
        subject = self.subjects[number]
        return self.draw("view.html", number=number, subject=subject, view=subject.view(name))

    def result(self, number: int, name: str, given: dict[str, Any]) -> str:
        """What the command of a filled-in form made, beside that of another model where one is asked for."""
        made = [self.made(number, name, given)]
        beside = str(given.get("beside") or "")
        if beside.isdecimal():
            made.append(self.made(int(beside), name, given))
        return self.draw("result.html", made=made, number=number, view=self.subjects[number].view(name))

    def made(self, number: int, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """What a template shows of a view's command and its output. Raises GencoreError."""
        subject = self.subjects[number]
        view = subject.view(name)
        command = view.command(subject.word, given)
        output = run(command)
        shown = {"title": f"{view.title} of {subject.word}", "command": command.text, **result_of(output)}
        beside = [self._address(picture) for picture in newest_grids(subject.word)] if view.again else []
        return {**shown, "address": self._address(output) if output.name else "", "beside": beside}

    def selected(self, number: int, name: str, given: dict[str, Any]) -> str:
        """The places of a map that were selected: what they are, and a list of labels of them."""
        subject = self.subjects[number]
        if not subject.view(name).picks:
            raise GencoreError(f"{subject.word} has no places to select in {name}.")
        before = str(given.get("before") or "")
        found = selecting.select(subject.word, given, self.kept.get(before).content if before else b"")
        addresses = {"picture": self._address(found.pictures), "list": self._address(found.labels)}
        return self.draw(
            "selected.html", found=found, key=found.labels.key, size=result_of(found.pictures), **addresses
        )

    def _address(self, output: Output) -> str:
        return f"/output/{self.kept.keep(output)}/{output.name}"


async def _given(request: Request) -> dict[str, Any]:
    """A form's values by name, with dropped files as Upload."""
    found: dict[str, Any] = {}
    async with request.form(max_files=10, max_fields=100) as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                found[name] = value
            elif value.filename:
                found[name] = Upload(name=harmless_name(value.filename), content=await value.read())
    return found
