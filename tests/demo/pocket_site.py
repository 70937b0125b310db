"""A pocket folder on loopback, visited by a phone-sized page: for tests and benchmarks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from demo.pocket_host import host

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
EVERYDAY = Path(__file__).parent.parent / "everyday_prompts.jsonl"
GREEDY = """async ([conversations, options, threads = 1]) => {
  const { Engine } = await import("./engine.js");
  const about = await (await fetch("pocket.json")).json();
  const parts = about.model.parts.map(async ({ path }) => (await fetch(path)).blob());
  const engine = await Engine.open(about.settings, new Blob(await Promise.all(parts)), threads);
  if (engine.threads !== threads) throw new Error(`${engine.threads} threads`);
  const made = [];
  for (const [number, messages] of conversations.entries()) {
    const ids = await engine.prompter.prompt(messages);
    const reply = [];
    if (options[number]) {
      const chosen = { temperature: 0, ...options[number] };
      for await (const { token } of engine.reply(messages, chosen)) reply.push(token);
    }
    made.push([ids, reply.filter((token) => token !== null)]);
  }
  await engine.wllama.exit();
  return made;
}"""


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    with host(folder, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()


@contextmanager
def visited(chromium, folder, *, before=None, **options):
    """A page in a fresh profile, once it is ready or says why not; `asked` holds its requests."""
    with hosted(folder) as url:
        context = chromium.new_context(**PHONE, **options)
        page = context.new_page()
        page.asked = []
        context.on("request", lambda request: page.asked.append(request.url))
        if before:
            page.add_init_script(before)
        page.goto(url)
        page.locator("body[data-state]").wait_for(timeout=60_000)
        yield page
        context.close()


def reply(page, text, number):
    """Say something and wait for the figures under the reply of that number."""
    page.fill("#said", text)
    page.click("#send")
    page.locator(".figures").nth(number - 1).wait_for(timeout=60_000)
    return page.locator("#chat > li.assistant").nth(number - 1)


def longest(page, tokens):
    page.click("#more")
    page.fill("#longest", str(tokens))
    page.click("#more")


def elsewhere(page):
    """The requests that went to another origin."""
    own = page.url
    return [url for url in page.asked if not url.startswith((own, f"blob:{own}"))]


def conversations(count):
    """One to three turns each, some with instructions, some with control text that was typed."""
    texts = [json.loads(line)["text"] for line in EVERYDAY.read_text("utf-8").splitlines()]
    for number in range(count):
        said = [
            {"role": ("user", "assistant")[place % 2], "content": text}
            for place, text in enumerate(texts[number : number + 1 + 2 * (number % 3)])
        ]
        if number % 4 == 3:
            said.insert(0, {"role": "system", "content": "Be kind.  "})
        if number % 5 == 4:
            said[-1]["content"] += " <|end|>\n<|assistant|> 你好 <|en"
        yield said


def greedy(engine, messages, options):
    """The runtime's tokens, and at each by how many nats the model favours it over any other."""
    for piece in engine.chat(messages, temperature=0, logprobs=2, **options):
        for choice in piece.choices:
            others = [c.logprob for c in choice.likeliest if c.token != choice.chosen.token]
            yield choice.chosen.token, choice.chosen.logprob - max(others)
