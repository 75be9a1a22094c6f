"""The report in a real browser: no error, no request, no overflow, legible, printable, for all."""

import base64
import os
import re

import pytest
from browser import Browser, find_browser
from fits import STRANGE_COLUMNS, STRANGE_LABELS, labelled_fit, radon_tree, towns_fit

from radon_numpyro.report.document import html_report

TREES = {
    "radon": lambda: radon_tree("hierarchical"),
    "individual": lambda: towns_fit("individual"),
    "three predictors": lambda: towns_fit(num_predictors=3, method="integrate"),
    "strange": lambda: labelled_fit(STRANGE_COLUMNS, STRANGE_LABELS),
}
DESK, PHONE = (1100, 800), (360, 800)
# Contrast as WCAG 2.2 defines it, of every text against the nearest ground that is not transparent.
CONTRAST = """(() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parse(c).slice(0, 3).map(v => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const clear = c => parse(c).length > 3 && parse(c)[3] === 0;
  const found = [];
  for (const e of document.body.querySelectorAll('*')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    let under = e;
    while (under && clear(getComputedStyle(under).backgroundColor)) under = under.parentElement;
    const [a, b] = [light(getComputedStyle(e).color),
      light(getComputedStyle(under || document.body).backgroundColor)].sort((x, y) => x - y);
    found.push([(b + 0.05) / (a + 0.05), e.tagName, e.textContent.slice(0, 30)]);
  }
  return found;
})()"""
NARROW = """[...document.querySelectorAll('.scroll')].map(e => [e.scrollWidth > e.clientWidth,
  e.tabIndex, e.getAttribute('role'), e.getAttribute('aria-label')])"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = find_browser()
    if path is None and os.environ.get("CI"):
        pytest.fail("no Chromium on the PATH: .ci/run installs it")
    if path is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    browser = Browser(path, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Reports on the disk, each made when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("reports"), {}

    def file_of(name):
        if name not in made:
            made[name] = folder / f"{name}.html"
            made[name].write_text(html_report(TREES[name]()), encoding="utf-8")
        return made[name]

    return file_of


@pytest.fixture(params=TREES)
def page(request, browser, files):
    """The browser with each of the reports open."""
    browser.size(*DESK)
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    browser.open(files(request.param))
    return browser


def complaints(browser):
    """What a console would show in red or yellow, exceptions included."""
    logged = [entry["entry"] for entry in browser.params("Log.entryAdded")]
    called = browser.params("Runtime.consoleAPICalled")
    return [*logged, *called, *browser.params("Runtime.exceptionThrown")]


def test_it_opens_without_a_word_on_the_console_or_a_request(page):
    assert page.evaluate("document.readyState") == "complete"
    assert page.evaluate("document.compatMode") == "CSS1Compat"
    assert complaints(page) == []
    asked = [event["request"]["url"] for event in page.params("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [page.evaluate("location.href")]
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0


def test_the_check_of_the_console_sees_an_error(page):
    page.evaluate("console.error('seen')")
    assert len(complaints(page)) == 1
    page.evaluate("fetch('https://example.invalid/').catch(() => 0)")
    assert len(complaints(page)) > 1


def test_the_verdict_is_read(browser, files):
    words = {"radon": "The draws can be trusted.", "strange": "Do not rely on these numbers yet."}
    for name, verdict in words.items():
        browser.open(files(name))
        assert (
            browser.evaluate("document.querySelector('#verdict [role=status]').innerText")
            == verdict
        )
        status = [
            node
            for node in browser.call("Accessibility.getFullAXTree")["nodes"]
            if node.get("role", {}).get("value") == "status"
        ]
        assert len(status) == 1


def test_every_figure_is_drawn(page):
    sizes = page.evaluate(
        "[...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight])"
    )
    assert len(sizes) >= 3
    assert all(complete and width > 100 and height > 100 for complete, width, height in sizes)


def test_nothing_runs_over_the_edge_of_a_phone(page):
    page.size(*PHONE, phone=True)
    assert page.evaluate("innerWidth") == 360
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    regions = page.evaluate(NARROW)
    assert any(scrolls for scrolls, *_ in regions)
    for scrolls, tab, role, label in regions:
        assert not scrolls or (tab == 0 and role == "region" and label)
    # What is cut off can be scrolled to, and nothing sticks out of what does not scroll.
    sticking = """[...document.querySelectorAll('main *, header *, nav *, footer *')].filter(e =>
      !e.closest('.scroll') && e.getBoundingClientRect().right > 360.5).map(e => e.outerHTML)"""
    assert page.evaluate(sticking) == []
    sizes = page.evaluate(
        "[...document.querySelectorAll('p, td, th, caption, li, figcaption')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.call("Emulation.setEmulatedMedia", features=features)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    found = page.evaluate(CONTRAST)
    assert len(found) > 50
    assert min(found)[0] >= 4.5, min(found)


def test_those_who_hear_the_page_find_their_way(page):
    nodes = [n for n in page.call("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]

    def named(*roles):
        return [n["name"]["value"] for n in nodes if n["role"]["value"] in roles]

    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert len(named(landmark)) == 1, landmark
    assert all(named("heading"))
    assert len(named("heading")) >= 8
    assert named("image", "img")
    assert all(len(name) > 20 for name in named("image", "img"))
    assert all(named("table"))
    assert all(named("region"))
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_keyboard_reaches_the_content_first(page):
    for kind in ("keyDown", "keyUp"):
        page.call(
            "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
        )
    assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.evaluate("document.activeElement.click()")
    assert page.evaluate("document.querySelector(':target').tagName") == "MAIN"


def test_data_neither_run_nor_become_elements(browser, files):
    browser.open(files("strange"))
    assert browser.evaluate("document.title") == f"{STRANGE_COLUMNS[0]} by {STRANGE_COLUMNS[2]}"
    assert browser.evaluate("document.querySelectorAll('script, iframe, object').length") == 0
    sources = browser.evaluate("[...document.images].map(i => i.src.slice(0, 11))")
    assert set(sources) == {"data:image/"}
    text = browser.evaluate("document.querySelector('#groups').textContent")
    for label in STRANGE_LABELS[:5]:
        assert label in text
    # A name in another direction does not turn the words around it.
    directions = "[...document.querySelectorAll('bdi')].map(e => getComputedStyle(e).unicodeBidi)"
    assert set(browser.evaluate(directions)) == {"isolate"}


def test_the_policy_of_the_page_stops_what_would_get_in(browser, files):
    browser.open(files("radon"))
    browser.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s); const i = new Image();"
        "new Promise(done => { i.onerror = done; i.src = 'https://example.invalid/x.png'; })"
    )
    assert browser.evaluate("window.ran === undefined")
    refused = " ".join(entry["text"] for entry in complaints(browser))
    assert "script" in refused
    assert "example.invalid" in refused


def test_it_prints(page):
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    )
    page.size(718, 1000)  # A4 less its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    printed = page.call(
        "Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False
    )
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 15
