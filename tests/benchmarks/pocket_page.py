"""Every figure of the pocket page, for one file: python -m tests.benchmarks.pocket_page FILE

Prints downloads, requests elsewhere, the visit without network, axe, the classes of `distill eval
latency --browser`, decode in the browser against the runtime (same file, one thread each, in turn),
and greedy replies: page against runtime, and with --student FOLDER against torch.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import runtime
from demo.pocket_folder import build
from demo.pocket_host import Files
from eval.browser import in_browser, processor_times, taken_since
from eval.latency import openings
from tests.demo.chromium import browser
from tests.demo.pocket_site import (
    GREEDY,
    conversations,
    elsewhere,
    greedy,
    hosted,
    longest,
    reply,
    visited,
)

PROMPTS, TOKENS, ROUNDS = 50, 32, 3
SPEED = """async ([messages, tokens]) => {
  const { Engine } = await import("./engine.js");
  if (!window.engine) {
    const about = await (await fetch("pocket.json")).json();
    const parts = about.model.parts.map(async ({ path }) => (await fetch(path)).blob());
    window.engine = await Engine.open(about.settings, new Blob(await Promise.all(parts)), 1);
  }
  const wide = { temperature: 1.5, top_p: 1, min_p: 0, max_tokens: tokens };
  const reply = window.engine.reply(messages, wide);
  let next = await reply.next();
  while (!next.done) next = await reply.next();
  return next.value.tokensPerS;
}"""
ALONE = """async (tokens) => {
  window.engine.held = [];
  await window.engine.wllama.kvClear();
  await window.engine.wllama._testBenchmark("tg", tokens);
}"""
STORY = [{"role": "user", "content": "Tell me a long story about two friends and their dog."}]


@contextmanager
def counted_bytes():
    """What the server sends of files, each time it does."""
    sent = []
    whole = Files.copyfile

    def counting(self, source, output):
        sent.append(os.fstat(source.fileno()).st_size)
        whole(self, source, output)

    Files.copyfile = counting
    try:
        yield sent
    finally:
        Files.copyfile = whole


def print_page(chromium, folder):
    """Requests elsewhere, axe, and the visit without network."""
    from axe_playwright_python.sync_playwright import Axe

    with counted_bytes() as sent, visited(chromium, folder) as page:
        longest(page, 32)
        reply(page, "I did not get the job.", 1)
        reply(page, "I want to die.", 2)
        page.locator("#facts:text('without a network')").wait_for(state="attached", timeout=90_000)
        print(f"download of a first visit, what it keeps included: {sum(sent) / 1e6:.1f} MB")
        print(f"requests to another origin: {len(elsewhere(page))} of {len(page.asked)}")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page).response["violations"]
            serious = [v["id"] for v in found if v["impact"] in ("serious", "critical")]
            print(f"axe, {scheme}: serious {serious or 'none'}, all {[v['id'] for v in found]}")
    with hosted(folder) as url:
        page = chromium.new_context().new_page()
        page.goto(url)
        page.locator("#facts:text('without a network')").wait_for(state="attached", timeout=90_000)
    page.goto(url)
    page.locator("body[data-state=ready]").wait_for(timeout=90_000)
    reply(page, "Are you there?", 1)
    print(f"second visit, nobody serving: answers; isolated {page.evaluate('crossOriginIsolated')}")
    page.context.close()


def print_classes(file):
    for row in in_browser(file, openings()[:5], TOKENS):
        print(
            f"{row['device']} (a busy worker took {row['slowed_times']:.1f} times as long): "
            f"first visit to first token {row['first_visit_to_first_token_s']:.2f} s "
            f"({row['first_visit_processor_s']:.2f} s of the page's processor time), "
            f"second visit {row['second_visit_to_first_token_s']:.2f} s, "
            f"from Send {row['first_token_s']:.2f} s, {row['tokens_per_s']:.1f} tokens/s, "
            f"{row['memory_bytes'] / 1e6:.0f} MB for model, cache and buffers"
        )


def print_decode(chromium, folder, file):
    """In turn, so that both meet the same machine; others do not stretch processor time.

    Replies may be short: the engine's processor time is that of tokens alone, in its worker.
    """
    rows = []
    with visited(chromium, folder) as page, runtime.load(file, threads=1) as engine:
        page.evaluate(SPEED, [STORY, 64])
        for _ in range(ROUNDS):
            there = page.evaluate(SPEED, [STORY, 128])
            before = processor_times()
            page.evaluate(ALONE, 64)
            there_ms = taken_since(before) * 1000 / 64
            began_s = time.process_time()
            here = engine.chat(STORY, temperature=1.5, top_p=1, min_p=0, max_tokens=128)
            for _ in here:
                pass
            here_ms = (time.process_time() - began_s) * 1000 / here.tokens
            rows.append((there, here.timings()["tokens_per_s"], there_ms, here_ms))
    there, here, there_ms, here_ms = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    print(f"decode, page and runtime: {there:.0f} and {here:.0f} tokens/s, {there / here:.2f}x")
    print(
        f"processor time of a token: {there_ms:.1f} and {here_ms:.1f} ms, {here_ms / there_ms:.2f}x"
    )


def print_agreement(chromium, folder, file, student):
    """As the file recommends, and without a penalty: only there the model's chances decide."""
    asked = list(conversations(PROMPTS))
    for name, chosen in (("as recommended", {}), ("no penalty", {"repetition_penalty": 1.0})):
        options = {"max_tokens": TOKENS, **chosen}
        with visited(chromium, folder) as page:
            found = page.evaluate(GREEDY, [asked, [options] * PROMPTS])
        with runtime.load(file, threads=1) as engine:
            # At once again, when the prompt is in the cache: the runtime's own rounding.
            twice = [[list(greedy(engine, each, options)) for _ in range(2)] for each in asked]
            here = [first for first, _ in twice]
            ids = [engine.prompt_ids(messages) for messages in asked]
            penalty = engine.backend.repetition_penalty
        same = sum(a[0] == b for a, b in zip(found, ids, strict=True))
        print(f"{name}: prompts: {same} of {PROMPTS} equal")
        print_parted("page", [tokens for _, tokens in found], here, leads=bool(chosen))
        again = [[token for token, _ in second] for _, second in twice]
        print_parted("runtime, its prompt cached,", again, here, leads=bool(chosen))
        if student and not chosen:
            replies = [(i, tokens) for i, (_, tokens) in zip(ids, found, strict=True)]
            print_torch(student, replies, penalty)


def print_parted(whose, replies, here, leads):
    """Where replies part from the runtime's, and by how much its choice led there."""
    parted = []
    for tokens, wanted in zip(replies, here, strict=True):
        place = parting(tokens, [token for token, _ in wanted])
        if place is not None:
            parted.append(wanted[place][1] if place < len(wanted) else None)
    equal = len(replies) - len(parted)
    print(f"  greedy replies of the {whose} against the runtime: {equal} of {len(replies)} equal")
    if leads and (known := sorted(lead for lead in parted if lead is not None)):
        print(f"    where they part, the likeliest led by {known[0]:.3f} to {known[-1]:.3f} nats")


def parting(one, other):
    """Where two replies part; None when they never do."""
    for place in range(max(len(one), len(other))):
        if one[place : place + 1] != other[place : place + 1]:
            return place
    return None


def print_torch(student, replies, penalty):
    """How often torch would go on as the page did, from the page's own beginnings."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    same = total = 0
    for ids, tokens in replies:
        with torch.no_grad():
            logits = model(torch.tensor([ids + tokens])).logits[0, len(ids) - 1 :]
        for place, token in enumerate(tokens):
            seen = torch.tensor(sorted(set(tokens[max(0, place - 64) : place])), dtype=torch.long)
            row = logits[place].clone()
            row[seen] = torch.where(row[seen] > 0, row[seen] / penalty, row[seen] * penalty)
            same, total = same + int(row.argmax() == token), total + 1
    print(f"torch fp32 chooses the page's token at {same} of {total} places ({same / total:.1%})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--student", type=Path, help="the checkpoint, for torch")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as near, browser() as chromium:
        built = build(options.file, Path(near) / "pocket", None, "default", None)
        print(f"folder {built.size_bytes / 1e6:.1f} MB, model {built.model_bytes / 1e6:.1f} MB")
        print_page(chromium, built.folder)
        print_decode(chromium, built.folder, options.file)
        print_agreement(chromium, built.folder, options.file, options.student)
    print_classes(options.file)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
