"""The asynchronous client: what the other one does, awaited; made from it, so that it cannot lag behind."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from async_client import TARGET, made
from test_client import url  # noqa: F401 - a fixture

from learnloop.client import LearnloopClient
from learnloop.client_async import AsyncLearnloopClient
from learnloop.errors import InvalidInput, NotAuthenticated, PermissionDenied, Unavailable
from learnloop.events.log import tell


def test_it_is_made_from_the_other_as_that_is_now() -> None:
    assert TARGET.read_text() == made(), "run `make client`"


def test_it_has_every_method_and_each_is_awaited_or_iterated() -> None:
    for name, method in inspect.getmembers(LearnloopClient, inspect.isfunction):
        twin = getattr(AsyncLearnloopClient, {"__enter__": "__aenter__", "__exit__": "__aexit__"}.get(name, name))
        assert str(inspect.signature(method)).split(" ->")[0] == str(inspect.signature(twin)).split(" ->")[0], name
        if name == "__init__":
            continue
        if inspect.isgeneratorfunction(method):
            assert inspect.isasyncgenfunction(twin), name
        else:
            assert inspect.iscoroutinefunction(twin), name


def test_the_way_of_one_label(url) -> None:  # noqa: F811
    async def annotate() -> None:
        async with await AsyncLearnloopClient.login(url, "ben", "secret") as ben:
            assert (await ben.session()).name == "ben"
            assert [found.name for found in await ben.datasets()] == ["pets"]
            task = await ben.claim("pets")
            assert await ben.content(task.id) == b"bytes of a sample"
            await ben.submit(task.id, "dog", seconds=1.0, key="once")
            await ben.submit(task.id, "dog", seconds=1.0, key="once")
            assert (await ben.progress("pets")).answered_by_me == 1
            with pytest.raises(InvalidInput, match="cow"):
                await ben.submit((await ben.claim("pets")).id, "cow")

    asyncio.run(annotate())


def test_many_at_once_share_one_client(url) -> None:  # noqa: F811
    async def ask() -> list[str]:
        async with AsyncLearnloopClient(url, "vic") as vic:
            return [found.name for found in await asyncio.gather(*(vic.session() for _ in range(40)))]

    assert asyncio.run(ask()) == ["vic"] * 40


def test_it_follows_events(url, monkeypatch) -> None:  # noqa: F811
    async def airflow_knows_them(request) -> None:
        """As in all of this folder, what Airflow says of a token is replaced; tests/integration/identity asks it."""

    monkeypatch.setattr("learnloop_airflow.api.live.still_logged_in", airflow_knows_them)
    first = tell("ben", "finished", "one", key="1")
    assert first is not None

    async def follow() -> list[str]:
        texts = []
        async with AsyncLearnloopClient(url, "ben") as ben:
            async for event in ben.follow_events(first - 1):
                texts.append(event["text"])
                if len(texts) == 1:
                    await asyncio.to_thread(tell, "ben", "finished", "two", key="2")
                else:
                    return texts
        return texts

    assert asyncio.run(asyncio.wait_for(follow(), 60)) == ["one", "two"]


def test_errors_are_those_of_the_other(url, monkeypatch) -> None:  # noqa: F811
    async def wrong_password() -> None:
        await AsyncLearnloopClient.login(url, "ben", "guess")

    async def no_right() -> None:
        async with AsyncLearnloopClient(url, "vic") as vic:
            await vic.claim("pets")

    async def nobody_there() -> None:
        async with AsyncLearnloopClient("http://127.0.0.1:1") as nobody:
            await nobody.session()

    monkeypatch.setattr("learnloop.client_async.BACKOFF_SECONDS", 0)
    for attempt, error in (
        (wrong_password, NotAuthenticated),
        (no_right, PermissionDenied),
        (nobody_there, Unavailable),
    ):
        with pytest.raises(error):
            asyncio.run(attempt())
