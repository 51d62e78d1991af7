"""``learnloop dataset ...``: versions, locks, merges, the store."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from learnloop.commands import merges, workspace
from learnloop.commands.arguments import Dataset, Message, Some, Version, dataset_names
from learnloop.commands.common import JsonOption, client, moment, progress_bar, say, show, size, table

app = typer.Typer(no_args_is_help=True, help="Versions of datasets: make, list, compare, restore, merge, lock, check.")
app.add_typer(workspace.app, name="workspace")


@app.command()
def snapshot(path: Path, message: Message = "", json: bool = JsonOption) -> None:
    """Make a version of a folder with a dataset.yaml. What has not changed is not read again."""
    with client() as api, progress_bar("reading", json) as progress:
        made = api.snapshot(str(path.resolve()), message, progress=progress)
    show(made, json, lambda: say(f"{made['name']}: {made['files']} files, {size(made['bytes'])}"))


@app.command("list")
def list_(
    dataset: Annotated[str | None, typer.Argument(autocompletion=dataset_names)] = None, json: bool = JsonOption
) -> None:
    """List datasets, or the versions of one, newest first."""
    with client() as api:
        if dataset is None:
            found = [item.model_dump() for item in api.datasets()]
            rows = [(item["name"], item["head"], item["task_type"], item["description"]) for item in found]
            show(found, json, lambda: table(("dataset", "head", "task", "description"), rows))
        else:
            found = api.versions(dataset)
            show(found, json, lambda: _show_versions(found))


@app.command("show")
def show_(version: Version, json: bool = JsonOption) -> None:
    """Show a version: content, who made it when and why, where it comes from."""
    with client() as api:
        found = api.version(version)
    rows = [(name, _words(value)) for name, value in found.items() if name != "provenance"]
    show(found, json, lambda: table(("", ""), rows))


@app.command()
def lineage(version: Version, json: bool = JsonOption) -> None:
    """List a version and what it came from, newest first."""
    with client() as api:
        found = api.lineage(version)
    rows = [
        (
            node["name"],
            node["kind"],
            node["owner"],
            moment(node["created_at"]),
            ", ".join(node["parents"]),
            node["message"],
        )
        for node in found["nodes"]
    ]
    show(found, json, lambda: table(("version", "by a", "by", "at", "from", "message"), rows))


@app.command()
def diff(
    before: Version,
    after: Version,
    limit: Annotated[int, typer.Option(help="How many of each kind to list.")] = 20,
    json: bool = JsonOption,
) -> None:
    """Compare two versions: files and records added, removed, changed."""
    with client() as api:
        found = api.diff(before, after, limit=limit)
    show(found, json, lambda: _show_diff(found))


@app.command()
def restore(version: Version, target: Path, json: bool = JsonOption) -> None:
    """Put a version's files into a folder that does not exist or is empty: whole, or not at all."""
    with client() as api, progress_bar("restoring", json) as progress:
        done = api.restore(version, str(target.resolve()), progress=progress)
    show(done, json, lambda: say(f"{done['version']}: {done['files']} files in {done['target']}"))


@app.command()
def revert(version: Version, message: Message = "", json: bool = JsonOption) -> None:
    """Make an earlier version's content the newest version."""
    with client() as api:
        made = api.revert(version, message)
    show(made, json, lambda: say(f"{made['name']} has the content of {version}"))


@app.command()
def delete(
    version: Version,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    json: bool = JsonOption,
) -> None:
    """Delete a version that nothing refers to. Its bytes go with the next gc."""
    with client() as api:
        done = api.delete_version(version, dry_run=dry_run)
    word = "deleted" if done["deleted"] else "would be deleted" if not done["refused_by"] else "cannot be deleted"
    why = "; ".join(done["refused_by"])
    text = f"{version} {word}: {done['objects']} objects, {size(done['bytes'])} are its alone"
    show(done, json, lambda: say(f"{text}; it is needed by: {why}" if why else text))


@app.command()
def merge(
    version: Version,
    strategy: Annotated[str | None, typer.Option(help="ours, theirs, newest or most_agreed.")] = None,
    message: Message = "",
    json: bool = JsonOption,
) -> None:
    """Merge a version into its dataset's head; conflicts stay in a merge request unless a strategy answers them."""
    with client() as api:
        done = api.merge(version, strategy=strategy, message=message)
    if done["version"]:
        show(done, json, lambda: say(f"merged: the head is {done['version']}"))
        return
    show(done, json, lambda: say(f"{done['unanswered']} conflicts: see `learnloop dataset conflicts {done['id']}`"))
    raise typer.Exit(2)


@app.command()
def conflicts(merge_id: int, json: bool = JsonOption) -> None:
    """List the conflicts of a merge request, with their three values and advice."""
    with client() as api:
        found = api.merge_request(merge_id)
    rows = []
    for one in found["conflicts"]:
        values = [one["shown"][side] for side in ("base", "ours", "theirs")]
        advice = "; ".join(
            f"{name}: {given['choice']}, {given['reason']}" for name, given in one["advice"].items() if given
        )
        place = " ".join(word for word in (one["path"], one["key"], one["field"]) if word)
        rows.append((one["id"], place, *values, advice, one["answer"]))
    show(found, json, lambda: table(("id", "where", "base", "ours", "theirs", "advice", "answer"), rows))


@app.command()
def answer(
    merge_id: int,
    answers: Annotated[list[str] | None, typer.Argument(help="ID=ours, ID=theirs or ID=base.")] = None,
    strategy: Annotated[str | None, typer.Option(help="For those that are left.")] = None,
    if_match: Annotated[
        str | None, typer.Option("--if-match", help="The etag of `conflicts --json`: refuse if it changed since.")
    ] = None,
    json: bool = JsonOption,
) -> None:
    """Answer conflicts one by one, or the rest by a strategy; merges when none is left."""
    given: dict[int, str] = {}
    for text in answers or []:
        conflict, _, choice = text.partition("=")
        if not conflict.isdigit() or not choice:
            raise typer.BadParameter(f"{text!r} is not ID=ours, ID=theirs or ID=base")
        given[int(conflict)] = choice
    with client() as api:
        done = api.answer_merge(merge_id, given, strategy=strategy, if_match=if_match)
    text = f"merged: the head is {done['version']}" if done["version"] else f"{done['unanswered']} are left"
    show(done, json, lambda: say(text))


app.command()(merges.merges)
app.command()(merges.cancel)


@app.command()
def lock(
    dataset: Dataset,
    seconds: Annotated[int, typer.Option(help="How long to hold it.")] = 3600,
    purpose: Annotated[str, typer.Option(help="Shown to whoever is refused.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait in line instead of being refused.")] = False,
    priority: Annotated[int, typer.Option(help="In the line; higher goes first.")] = 0,
    json: bool = JsonOption,
) -> None:
    """Take a dataset's write lock; prints the fencing token that `unlock` and `workspace commit` want."""
    key = f"cli-{uuid.uuid4().hex}"
    with client() as api:
        while True:
            got = api.lock(dataset, seconds=seconds, purpose=purpose, wait=wait, priority=priority, key=key)
            if "token" in got:
                break
            if not json:
                say(
                    f"place {got['position']} in line; {got['held_by'] or 'nobody'} holds the lock until {got['held_until']}"
                )
            time.sleep(5)  # the place is kept for a minute after each question
    show(got, json, lambda: say(f"locked until {moment(got['expires_at'])} UTC; token {got['token']}"))


@app.command()
def unlock(dataset: Dataset, token: int, json: bool = JsonOption) -> None:
    """Give a write lock back."""
    with client() as api:
        released = api.unlock(dataset, token)
    show({"released": released}, json, lambda: say("released" if released else "it was not held any more"))


@app.command()
def locks(dataset: Dataset, json: bool = JsonOption) -> None:
    """Show who holds locks, who waits, and open branches."""
    with client() as api:
        found = api.locks(dataset)
    rows = [
        *((one["mode"], one["owner"], one["purpose"], moment(one["expires_at"])) for one in found["locks"]),
        *(
            (f"waits ({one['position']})", one["owner"], one["purpose"], moment(one["expires_at"]))
            for one in found["waiting"]
        ),
        *(
            (f"branch {one['name']}", one["owner"], one["purpose"], moment(one["expires_at"]))
            for one in found["branches"]
        ),
    ]
    show(found, json, lambda: table(("what", "whose", "purpose", "until"), rows))


@app.command()
def verify(
    versions: Some = None,
    sample: Annotated[int | None, typer.Option(help="Read only so many objects, chosen at random.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Fetch what is damaged from the remote.")] = False,
    json: bool = JsonOption,
) -> None:
    """Read stored objects and name what is damaged or missing. Exit code 2 when something is."""
    with client() as api, progress_bar("verifying", json) as progress:
        done = api.verify(versions or [], sample=sample, repair=repair, progress=progress)
    left = done["problems"]
    if "repair" in done:
        left = done["repair"]["unrepaired"]
    rows = [
        (one["name"], one["kind"], ", ".join(f"{need['version']}:{need['path']}" for need in one["needed_by"][:3]))
        for one in done["problems"]
    ]

    def human() -> None:
        say(f"{done['checked']} of {done['of']} objects read, {len(rows)} damaged or missing")
        if rows:
            table(("object", "is", "needed by"), rows)
        if "repair" in done:
            say(f"repaired: {len(done['repair']['repaired'])}, not repaired: {len(left)}")

    show(done, json, human)
    if left:
        raise typer.Exit(2)


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    grace_hours: Annotated[float, typer.Option(help="Spare what was touched since.")] = 48,
    remote: Annotated[
        bool, typer.Option("--remote", help="At the remote: only if nobody else keeps data there.")
    ] = False,
    json: bool = JsonOption,
) -> None:
    """Delete objects that nothing needs, from the store or the remote. Safe while others write."""
    with client() as api, progress_bar("collecting", json) as progress:
        done = api.gc(dry_run=dry_run, grace_hours=grace_hours, remote=remote, progress=progress)
    word = "would be deleted" if dry_run else "deleted"
    text = f"{done['objects']} objects ({size(done['bytes'])}) {word}; {done['kept']} kept, {done['young']} too young"
    show(done, json, lambda: say(text))


@app.command()
def push(versions: Some = None, json: bool = JsonOption) -> None:
    """Copy what the remote lacks to it."""
    with client() as api, progress_bar("pushing", json) as progress:
        done = api.push(versions or [], progress=progress)
    show(done, json, lambda: say(f"{done['objects']} objects pushed ({size(done['bytes'])})"))


@app.command()
def fetch(versions: Some = None, json: bool = JsonOption) -> None:
    """Copy what the store lacks from the remote."""
    with client() as api, progress_bar("fetching", json) as progress:
        done = api.fetch(versions or [], progress=progress)
    show(done, json, lambda: say(f"{done['objects']} objects fetched ({size(done['bytes'])})"))


@app.command()
def space(json: bool = JsonOption) -> None:
    """Show bytes by tier, dataset and user."""
    with client() as api:
        found = api.space()
    rows: list[tuple[object, ...]] = [
        (name, size(found[name])) for name in ("hot", "unnamed", "warm", "cold", "logical")
    ]
    for kind in ("datasets", "users"):
        rows += [
            (f"{kind[:-1]} {name}", f"{size(share['exclusive'])} alone, {size(share['shared'])} shared")
            for name, share in found[kind].items()
        ]
    show(found, json, lambda: table(("what", "bytes"), rows))


def _show_versions(found: list[dict[str, Any]]) -> None:
    rows = [
        (row["name"], row["files"], size(row["bytes"]), row["owner"], moment(row["created_at"]), row["message"])
        for row in found
    ]
    table(("version", "files", "size", "by", "at", "message"), rows)


def _show_diff(found: dict[str, Any]) -> None:
    files = found["files"]
    say(", ".join(f"{count} files {kind}" for kind, count in files["counts"].items() if count) or "no file differs")
    rows = [(sign, path) for kind, sign in (("added", "+"), ("removed", "-"), ("changed", "~")) for path in files[kind]]
    rows += [(">", f"{before} -> {after}") for before, after in files["renamed"]]
    if rows:
        table(("", "file"), rows)
    for one in found["tables"]:
        counts = ", ".join(f"{count} {kind}" for kind, count in one["counts"].items() if count)
        say(f"{one['path']}: records {counts or 'as before'}")
        for change in one["changed"]:
            for name, (before, after) in change["fields"].items():
                say(f"  ~ {change['key']}.{name}: {_words(before)} -> {_words(after)}")


def _words(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "-"
    return str(value)
