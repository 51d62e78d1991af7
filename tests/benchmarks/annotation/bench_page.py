"""How long a person waits on the annotation page: from the key that answers until the next sample is there.

Measured in Chromium, by the browser's own clock: from the key's event to the first frame that shows another sample with its
picture decoded. Several pages can be measured in turn, answer by answer, for instance one of an older commit:

    python tests/benchmarks/annotation/bench_page.py --dataset digits --answers 60 \\
        --page before=http://127.0.0.1:8601/annotate/,annotator,PASSWORD \\
        --page after=http://127.0.0.1:8602/annotate/,admin,PASSWORD

Each page needs a user of its own, for a person's pages share their tasks, and the dataset enough open tasks.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from typing import Any

WATCH = """() => {
  const caption = () => (document.querySelector('.ll-sample figcaption') || {}).innerText;
  window.waited = [];
  window.addEventListener('keydown', () => {
    const before = caption(), start = performance.now();
    const look = () => {
      const image = document.querySelector('.ll-image'), now = caption();
      if (now && now !== before && image && image.complete) window.waited.push(performance.now() - start);
      else requestAnimationFrame(look);
    };
    look();
  }, true);
}"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--page", action="append", required=True, help="NAME=URL,USER,PASSWORD")
    given.add_argument("--dataset", required=True)
    given.add_argument("--answers", type=int, default=60)
    given.add_argument("--think", type=float, default=0.7, help="seconds that the person looks at each sample")
    wanted = given.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        pages = {}
        for named in wanted.page:
            name, _, rest = named.partition("=")
            pages[name] = opened(browser, *rest.split(","), wanted.dataset)
        for _ in range(wanted.answers):
            for page in pages.values():
                answer(page, wanted.think)
        for name, page in pages.items():
            report(name, page.evaluate("window.waited"))
        browser.close()


def opened(browser: Any, url: str, user: str, password: str, dataset: str) -> Any:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{url}?dataset={dataset}")
    page.locator("input[autocomplete=username]").fill(user)
    page.locator("input[type=password]").fill(password)
    page.keyboard.press("Enter")
    page.locator(".ll-sample figcaption").wait_for(timeout=30_000)
    page.evaluate(WATCH)
    return page


def answer(page: Any, think: float) -> None:
    """Press the key of the model's guess, as a person would: after looking."""
    page.wait_for_timeout(1000 * think)
    done = page.evaluate("window.waited.length")
    page.keyboard.press(page.locator(".ll-guess .ll-label").first.inner_text())
    page.wait_for_function(f"window.waited.length > {done}")


def report(name: str, milliseconds: list[float]) -> None:
    waited = sorted(milliseconds)
    print(
        f"{name}: {len(waited)} answers, median {statistics.median(waited):.0f} ms, "
        f"p95 {waited[int(0.95 * (len(waited) - 1))]:.0f} ms, most {waited[-1]:.0f} ms"
    )


if __name__ == "__main__":
    main()
