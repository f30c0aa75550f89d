"""The built-in page in headless Chromium."""

import re

from playwright.sync_api import expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def check(server, chromium, out):
    strange, wrong = [], []
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1180, "height": 760}, color_scheme="light")
        page.on("request", lambda r: None if r.url.startswith((server.url, "data:")) else strange.append(r.url))
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and "status of 40" not in m.text else None)
        page.goto(server.url + "/")
        expect(page.locator("#model")).to_contain_text("API key")
        page.fill("#key", server.key)
        page.press("#key", "Tab")
        expect(page.locator("#model")).to_have_text("tiny · 2,048 tokens")
        page.screenshot(path=out / "page-empty.png")

        chat(page, out)
        stop(page)
        text(page, out)
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=out / "page-text-dark.png")
        page.get_by_text("Chat", exact=True).click()
        page.screenshot(path=out / "page-dark.png")
        page.set_viewport_size({"width": 390, "height": 780})
        page.click("summary")
        page.screenshot(path=out / "page-narrow.png")
        wide = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    for what, found in (("requests elsewhere", strange), ("errors of the page", wrong)):
        if found:
            raise AssertionError(f"{what}: {found}")
    if wide > 390:
        raise AssertionError(f"on a small screen the page is {wide} pixels wide, want 390")
    return f"chat, stop, text, dark, narrow; look at {out}/page*.png"


def settled(page, button):
    expect(page.locator("#go")).to_have_text(button, timeout=60000)


def chat(page, out):
    page.fill("#max_tokens", "160")
    page.fill("#seed", "3")
    page.fill("#system", "You write Go.")
    page.fill("#prompt", "func (r *Reader) Read")
    page.press("#prompt", "Enter")
    expect(page.locator("#stats")).to_contain_text("of prompt", timeout=60000)
    settled(page, "Send")
    stats = page.inner_text("#stats")
    if not re.search(r"[\d.]+ tokens/s · 160 tokens · \d+ ms to the first · \d+ of prompt", stats):
        raise AssertionError(f"the page says {stats!r} of the answer")
    page.fill("#prompt", "How is a string\nread from it?")
    page.press("#prompt", "Enter")
    expect(page.locator(".said")).to_have_count(4)
    settled(page, "Send")
    if (n := page.locator(".said").count()) != 4:
        raise AssertionError(f"{n} messages after two answers, want 4")
    page.screenshot(path=out / "page.png")


# presses Escape as soon as something of an answer is shown
ESCAPE = """() => new MutationObserver((_, o) => {
  if (!document.querySelector(".busy")?.textContent) return;
  o.disconnect();
  dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
}).observe(document.querySelector("#log"), {childList: true, subtree: true, characterData: true})"""


def stop(page):
    page.evaluate(ESCAPE)
    page.fill("#max_tokens", "1500")
    page.fill("#prompt", "Go on and on.")
    page.press("#prompt", "Enter")
    settled(page, "Send")
    expect(page.locator("#stats")).to_contain_text("stopped")
    if not page.locator(".said").last.inner_text():
        raise AssertionError("nothing was shown of the answer before it was stopped")
    page.click("#again")
    if (n := page.locator(".said").count()) != 4 or page.input_value("#prompt") != "Go on and on.":
        raise AssertionError(f"{n} messages after the last was taken back, want 4")
    page.fill("#prompt", "x y " * 1000)
    page.press("#prompt", "Enter")
    expect(page.locator(".bad")).to_contain_text("this server takes prompts of up to 548")
    if page.input_value("#prompt") != "x y " * 1000:
        raise AssertionError("a refused message is lost")
    page.fill("#prompt", "")


def text(page, out):
    page.get_by_text("Text", exact=True).click()
    page.fill("#max_tokens", "200")
    page.fill("#text", "// Package ")
    page.keyboard.press("Control+Enter")
    settled(page, "Continue")
    written = page.input_value("#text")
    if not written.startswith("// Package ") or len(written) < 50:
        raise AssertionError(f"the text is {written!r}")
    page.screenshot(path=out / "page-text.png")
    page.click("#again")
    if page.input_value("#text") != "// Package ":
        raise AssertionError("the answer was not taken back")
    page.click("#go")
    settled(page, "Continue")
    page.click("#clear")
    if page.input_value("#text"):
        raise AssertionError("the text was not cleared")
    page.fill("#text", written)
