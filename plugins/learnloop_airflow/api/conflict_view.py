"""The conflict view: a page on which a person answers the conflicts of a merge, one by one or all by a strategy."""

from __future__ import annotations

from html import escape
from typing import Any

STRATEGIES = {
    "ours": "Keep the head's for the rest",
    "theirs": "Take the merged version's for the rest",
    "newest": "Take the newest for the rest",
    "most_agreed": "Take what most people agree on for the rest",
}

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } .muted { opacity: .7; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .5rem .6rem; border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent);
  vertical-align: top; overflow-wrap: anywhere; }
label { display: block; cursor: pointer; } td.where { font-weight: 600; min-width: 11rem; }
button { font: inherit; padding: .45rem .9rem; margin: 0 .5rem .5rem 0; border-radius: .5rem; border: 1px solid;
  cursor: pointer; background: transparent; color: inherit; }
button.main { background: #4f46e5; border-color: #4f46e5; color: #fff; }
#said { min-height: 1.5rem; }
"""

_SCRIPT = """
try {  // in Airflow's frame: in Airflow's colours
  const airflow = parent.document.documentElement.classList;
  if (parent !== window) document.documentElement.style.colorScheme = airflow.contains("dark") ? "dark" : "light";
} catch { /* somebody else's frame, or none: the browser's colours */ }
const said = document.getElementById("said");
async function send(body) {
  said.textContent = "sending ...";
  const headers = {"Content-Type": "application/json", "If-Match": document.body.dataset.etag};
  const answer = await fetch("answers", {method: "POST", headers, body: JSON.stringify(body)});
  const told = await answer.json();
  if (!answer.ok) { said.textContent = told.detail + " " + (told.problems || []).join(" "); return; }
  location.reload();
}
document.querySelectorAll("button[data-strategy]").forEach(button =>
  button.addEventListener("click", () => send({strategy: button.dataset.strategy})));
const answers = document.getElementById("answers");
if (answers) answers.addEventListener("click", () => {
  const chosen = {};
  document.querySelectorAll("input[type=radio]:checked").forEach(input => { chosen[input.name] = input.value; });
  send({answers: chosen});
});
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
"""Nothing from elsewhere is loaded; what conflicts hold is escaped."""


def page(merge: dict[str, Any], conflicts: list[dict[str, Any]], etag: str) -> str:
    """The HTML page of a merge with its conflicts, as it was at ``etag``: answers to what changed since are refused."""
    left = sum(one["answer"] is None for one in conflicts)
    title = f"Merge {merge['id']}: {merge['theirs']} into {merge['dataset']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="muted">head {escape(merge["ours"])}, since {escape(merge["base"] or "no common version")}</p>',
        _state(merge, left),
    ]
    if conflicts:
        rows = "".join(_row(one, merge["state"] == "open") for one in conflicts)
        heads = "<th>where</th><th>base</th><th>ours (head)</th><th>theirs</th><th>advice</th>"
        parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")
    if merge["state"] == "open":
        parts.append('<p><button class="main" id="answers">Save these answers</button></p><p>')
        parts += [f'<button data-strategy="{name}">{escape(text)}</button>' for name, text in STRATEGIES.items()]
        parts.append("</p>")
    parts.append('<p id="said" role="status"></p>')
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style><body data-etag="{escape(etag)}">'
        f"{''.join(parts)}<script>{_SCRIPT}</script></body></html>"
    )


def _state(merge: dict[str, Any], left: int) -> str:
    if merge["state"] == "merged":
        return f"<p>Merged: the head is <b>{escape(merge['version'])}</b>.</p>"
    if merge["state"] == "cancelled":
        return "<p>Cancelled.</p>"
    have = "conflict has" if left == 1 else "conflicts have"
    return f"<p><b>{left}</b> {have} no answer yet. When none is left, the merge is completed.</p>"


def _row(one: dict[str, Any], is_open: bool) -> str:
    where = " · ".join(part for part in (one["path"], one["key"], one["field"]) if part)
    cells = [f'<td class="where">{escape(where)}</td>']
    for side in ("base", "ours", "theirs"):
        value = escape(one["shown"][side])
        if is_open:
            checked = " checked" if one["answer"] == side else ""
            value = f'<label><input type="radio" name="{one["id"]}" value="{side}"{checked}> {value}</label>'
        elif one["answer"] == side:
            value = f"<b>{value}</b>"
        cells.append(f"<td>{value}</td>")
    advice = "; ".join(
        f"{name.replace('_', ' ')}: {given['choice']} ({given['reason']})"
        for name, given in one["advice"].items()
        if given
    )
    who = f" · answered by {one['answered_by']}" if one["answered_by"] else ""
    return f'<tr>{"".join(cells)}<td class="muted">{escape(advice + who)}</td></tr>'
