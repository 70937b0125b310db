"""The pocket page in a browser: what a person meets, and that it answers as the runtime does."""

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest

import runtime
from demo.pocket_folder import build, write_worker
from export.quantize import quantize
from runtime.guard import check
from tests.demo.chromium import browser, needs_chromium
from tests.demo.pocket_site import (
    GREEDY,
    PHONE,
    conversations,
    elsewhere,
    greedy,
    hosted,
    longest,
    reply,
    visited,
)

pytestmark = needs_chromium
LABELLED = Path(str(resources.files("runtime.guarding")))
REPLIES, TOKENS = 5, 12
SOON = {"timeout": 60_000, "state": "attached"}
NEAR_TIE = 0.05  # nats


@pytest.fixture(scope="module")
def site(tiny_gguf, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "pocket"
    return build(tiny_gguf, folder, report=None, guard_locale="default", guard_policy=None).folder


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


def state(page):
    return page.locator("body").get_attribute("data-state")


@pytest.fixture(scope="module")
def page(chromium, site):
    with visited(chromium, site) as opened:
        yield opened


def test_it_streams_shows_speed_and_names_people_before_the_model_speaks(page):
    assert state(page) == "ready"
    longest(page, 8)
    first = reply(page, "Hello there.", 1)
    assert "tokens/s" in first.inner_text() and "first word after" in first.inner_text()
    assert not first.locator(".help").count()
    second = reply(page, "I want to die.", 2)
    assert second.locator(".help").inner_text().startswith(check("I want to die.").block[:40])
    wrote = second.locator(".help + details")
    assert wrote.inner_text() == "What the model wrote", "folded, and not to be read unasked"
    wrote.locator("summary").press("Enter")
    assert wrote.locator("p").inner_text() and wrote.locator("p").is_visible()
    again = reply(page, "Thanks, goodbye.", 3)
    assert not again.locator(".help").count(), "the block is shown once for a message"
    assert page.locator("#announce").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize(
    ("built_for", "language", "country", "number"),
    [
        ("auto", "en-GB", "en-GB", "116 123"),
        ("auto", "de", "default", "findahelpline.com"),
        ("en-IE", "en-GB", "en-IE", "116 123"),
    ],
)
def test_help_lines_are_those_of_the_readers_country_and_may_be_changed(
    chromium, site, tmp_path, built_for, language, country, number
):
    folder = Path(shutil.copytree(site, tmp_path / "pocket"))
    tables = json.loads((folder / "guard.json").read_text())
    tables["help"]["locale"] = built_for
    (folder / "guard.json").write_text(json.dumps(tables))
    with visited(chromium, folder, locale=language) as page:
        assert page.input_value("#country") == country
        longest(page, 2)
        said = reply(page, "I want to die.", 1).locator(".help").inner_text()
        assert number in said and ("en-" in said) == (country != "default")
        page.click("#more")
        page.select_option("#country", "en-US")
        page.click("#more")
        again = reply(page, "I still want to die.", 2).locator(".help").inner_text()
        assert "988" in again and "United States (en-US). In another country" in again
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_stop_ends_a_reply_and_new_chat_forgets(page):
    page.click("#new")
    assert page.locator("#chat > li").count() == 0 and page.is_visible("#welcome")
    longest(page, 200)
    page.fill("#said", "I went to the market today.")
    page.press("#said", "Enter")
    page.locator("body[data-answering=yes]").wait_for()
    page.locator(".assistant > p:not(:empty)").wait_for(timeout=60_000)
    assert page.inner_text("#send") == "Stop"
    page.click("#send")
    page.locator("body[data-answering=no]").wait_for(timeout=10_000)
    figures = page.locator(".figures").first
    assert "stopped" in figures.inner_text() or "cut" in figures.inner_text()
    assert page.inner_text("#send") == "Send"


def test_nothing_is_asked_of_another_origin_and_nothing_typed_is_kept(page):
    assert elsewhere(page) == []
    kept = page.evaluate(
        """async () => {
          const names = (await indexedDB.databases()).map((database) => database.name);
          return [localStorage.length, sessionStorage.length, document.cookie, names];
        }"""
    )
    assert kept == [0, 0, "", []]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    if not page.is_visible("#panel"):
        page.click("#more")
    found = axe.run(page).response["violations"]
    page.click("#more")
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def test_the_guard_is_that_of_the_runtime(page):
    messages = [
        json.loads(line)["text"]
        for name, step in (("development", 1), ("written", 12))
        for line in (LABELLED / f"{name}.jsonl").read_text("utf-8").splitlines()[::step]
    ]
    messages += ["", "\0", "I’m soooo done… I'd rather DIE", " ".join(messages[:40])]
    found = page.evaluate(
        """async (texts) => {
          const { Guard } = await import("./guard.js");
          const guard = new Guard(await (await fetch("guard.json")).json());
          return texts.map((text) => guard.check(text)).map(({ fired, score, entry, block }) =>
            [fired, score, entry?.id ?? null, block ?? ""]);
        }""",
        messages,
    )
    for text, (fired, score, entry, block) in zip(messages, found, strict=True):
        here = check(text)
        assert (fired, entry) == (here.fired, here.entry.id if here.entry else None), text
        assert block == here.block and abs(score - here.score) < 1e-9, text
    assert len(messages) > 250 and 50 < sum(one[0] for one in found) < len(messages) - 50


def test_prompts_and_greedy_replies_are_those_of_the_runtime(page, tiny_gguf):
    asked = list(conversations(50))
    plain = [{"max_tokens": TOKENS}] * REPLIES
    options = [*plain, *([{"max_tokens": TOKENS, "repetition_penalty": 1.5}] * REPLIES)]
    options += [None] * (len(asked) - len(options))
    found = page.evaluate(GREEDY, [asked, options])
    different = 0
    with runtime.load(tiny_gguf, threads=1) as engine:
        for messages, chosen, (ids, tokens) in zip(asked, options, found, strict=True):
            assert ids == engine.prompt_ids(messages)
            if chosen is None:
                continue
            wanted = list(greedy(engine, messages, chosen))
            different += tokens != [token for token, _ in wanted]
            if chosen == plain[0] and (place := parting(tokens, wanted)) is not None:
                assert wanted[place][1] < NEAR_TIE, "kernels differ in the last bits, no more"
    assert different <= 2, "ties that are so near are few"


@pytest.mark.parametrize("kind", ["Q4_K_M", "Q4_0"])
def test_quantized_files_answer_alike_on_one_thread_and_two(chromium, tiny_gguf, tmp_path, kind):
    file = tmp_path / f"tiny-{kind}.gguf"
    quantize(tiny_gguf, file, kind)
    folder = build(file, tmp_path / "pocket", None, "default", None).folder
    asked = list(conversations(REPLIES))
    options = [{"max_tokens": TOKENS, "repetition_penalty": 1}] * REPLIES
    with visited(chromium, folder) as page:
        one, two = (page.evaluate(GREEDY, [asked, options, threads]) for threads in (1, 2))
    assert one == two and all(tokens for _, tokens in one)
    with runtime.load(file, threads=1) as engine:
        for messages, (_, tokens) in zip(asked, one, strict=True):
            wanted = list(greedy(engine, messages, options[0]))
            if (place := parting(tokens, wanted)) is not None:
                assert wanted[place][1] < NEAR_TIE


def parting(tokens, wanted):
    pairs = enumerate(zip(tokens, wanted, strict=False))
    return next((place for place, (one, (other, _)) in pairs if one != other), None)


def test_a_new_version_replaces_the_old_and_the_next_visit_needs_no_network(
    chromium, site, tmp_path
):
    folder = Path(shutil.copytree(site, tmp_path / "pocket"))
    parts = {f"model/{path.name}" for path in (folder / "model").iterdir()}
    context = chromium.new_context(**PHONE)
    page = context.new_page()
    with hosted(folder) as url:
        page.goto(url)
        page.locator("#facts:text('without a network')").wait_for(**SOON)
        first = (folder / "index.html").read_text()
        (folder / "index.html").write_text(first.replace("<title>Kindred", "<title>Kindred 2"))
        (folder / "sw.js").unlink()
        write_worker(folder, parts)
        page.goto(url)
        assert page.title() == "Kindred", "the kept page opens at once"
        page.locator("#facts:text('a newer version is ready')").wait_for(**SOON)
    page.goto(url)  # nobody answers there any more
    page.locator("body[data-state]").wait_for(timeout=60_000)
    assert state(page) == "ready" and page.title() == "Kindred 2"
    assert page.evaluate("crossOriginIsolated"), "the service worker sends the headers itself"
    longest(page, 4)
    assert reply(page, "Are you there?", 1).is_visible()
    context.close()


def test_what_no_longer_fits_is_said_and_what_never_fits_is_refused(page):
    page.click("#new")
    longest(page, 4)
    page.fill("#said", "It was a long day. " * 200)
    page.click("#send")
    page.locator("#notice:text('too long')").wait_for(**SOON)
    assert page.input_value("#said").startswith("It was a long day")
    for number in range(1, 5):
        reply(page, "It was a long day. " * 50, number)
    assert "no longer reads the oldest" in page.inner_text(".dropped")


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("WebAssembly.validate = () => false", "lacks WebAssembly SIMD"),
        ("delete globalThis.WebAssembly", "no WebAssembly"),
        ("Object.defineProperty(navigator, 'deviceMemory', {value: 1e-4})", "smaller file"),
    ],
)
def test_a_device_that_cannot_run_it_is_told_so(chromium, site, before, says):
    with visited(chromium, site, before=before) as page:
        assert state(page) == "refused" and says in page.inner_text("#notice")
        assert page.is_disabled("#send")


def test_a_part_that_changed_on_its_way_and_another_template_are_refused(chromium, site, tmp_path):
    folder = Path(shutil.copytree(site, tmp_path / "pocket"))
    about = json.loads((folder / "pocket.json").read_text())
    about["settings"]["probes"][0]["ids"][-1] += 1
    (folder / "pocket.json").write_text(json.dumps(about))
    with visited(chromium, folder) as page:
        assert "differently from the runtime" in page.inner_text("#notice")
    with (folder / about["model"]["parts"][0]["path"]).open("r+b") as file:
        file.write(b"X")
    with visited(chromium, folder) as page:
        assert "is not the file that was built" in page.inner_text("#notice")
