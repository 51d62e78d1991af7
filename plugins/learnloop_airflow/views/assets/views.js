// All that the views do in the browser. It stands in the head, so that a page is in Airflow's colours before it is seen.
"use strict";

function airflow() {
  try { return window.parent !== window && window.parent.document; } catch { return null; }
}

function scheme() {
  const root = airflow() && airflow().documentElement.classList;
  if (root && (root.contains("dark") || root.contains("light"))) return root.contains("dark") ? "dark" : "light";
  const chosen = localStorage.getItem("theme");
  if (chosen === "dark" || chosen === "light") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function paint() { document.documentElement.dataset.theme = scheme(); }

paint();
addEventListener("storage", paint);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
if (airflow()) new MutationObserver(paint).observe(airflow().documentElement, { attributeFilter: ["class"] });

// Airflow's frame may not lead its page elsewhere: its own document follows the link instead.
addEventListener("click", event => {
  const link = event.target.closest("a[data-airflow]");
  if (!link || !airflow() || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const step = airflow().createElement("a");
  step.href = link.href;
  step.click();
});

// A page that changes by itself is looked at again, while somebody can see it.
const LOOK_AGAIN_MS = 10000;

async function lookAgain() {
  if (document.hidden) return;
  const answer = await fetch(location.href).catch(() => null);
  if (answer && (answer.status === 401 || answer.status === 403)) location.reload();  // which says so, and looks no more
  if (!answer || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  const now = document.querySelector("main");
  const focused = now.contains(document.activeElement);
  if (fresh && !focused && fresh.innerHTML !== now.innerHTML) now.replaceWith(document.adoptNode(fresh));
}

// The last line of an answer is its result, or a problem; so is the whole of one that is not told in lines.
async function resultOf(answer) {
  const last = JSON.parse((await answer.text()).trim().split("\n").pop());
  return last.problem || (answer.ok ? null : last);
}

async function send(event) {
  event.preventDefault();
  const form = event.target, said = form.querySelector(".said"), body = {};
  for (const [name, value] of new FormData(form)) {
    body[name] = form.elements[name].hasAttribute("data-number") ? Number(value) : value;
  }
  const to = form.dataset.to.replace("{alias}", () => encodeURIComponent(body.alias));
  delete body.alias;
  const buttons = form.querySelectorAll("button");
  buttons.forEach(button => { button.disabled = true; });
  said.textContent = "Waiting until every model server has it …";
  try {
    const headers = { "Content-Type": "application/json" };
    const url = `${document.body.dataset.root}/learnloop/api/v1/${to}`;
    const problem = await resultOf(await fetch(url, { method: form.dataset.send, headers, body: JSON.stringify(body) }));
    if (!problem) { location.reload(); return; }
    said.textContent = [problem.detail, ...(problem.problems || [])].join(" ");
  } catch {
    said.textContent = "There was no answer. Look at what is served now before you try again.";
  }
  buttons.forEach(button => { button.disabled = false; });
}

addEventListener("DOMContentLoaded", () => {
  const { leadsTo } = document.body.dataset;
  if (leadsTo) location.replace(`${leadsTo}&embed_options=${scheme()}_theme`);
  if ("live" in document.body.dataset) setInterval(lookAgain, LOOK_AGAIN_MS);
  document.querySelectorAll("form[data-send]").forEach(form => form.addEventListener("submit", send));
  document.querySelectorAll("[data-closes]").forEach(button =>
    button.addEventListener("click", () => button.closest("dialog").close()));
  document.querySelectorAll("[data-asks]").forEach(button => button.addEventListener("click", () => {
    const dialog = document.getElementById(button.dataset.asks), { version } = button.dataset;
    const form = dialog.querySelector("form");
    form.querySelector(".said").textContent = "";
    if (version) { form.elements.version.value = version; form.querySelector(".shown").textContent = version; }
    dialog.showModal();
  }));
});
