// The page: what a person sees and touches. The conversation lives in `turns` and nowhere else.

import { lacks, threadsFor, whyNotOpened } from "./device.js";
import { Engine, Mismatch, TooLong } from "./engine.js";
import { Guard } from "./guard.js";
import { fetchModel } from "./store.js";

const OPENERS = [
  "I did not get the job. I really wanted it.",
  "My sister is having a baby and I am going to be an uncle!",
  "My best friend moved away last week.",
];
const MISMATCH =
  "This browser renders the model's chat template differently from the runtime; it will not guess.";
const WROTE = "What the model wrote";
const ELSEWHERE = "findahelpline.com";
const at = (id) => document.getElementById(id);
const page = { engine: null, guard: null, answering: null, turns: [] };

async function start() {
  wire();
  const tables = json("guard.json");
  const about = await json("pocket.json");
  describe(about);
  const missing = lacks(about.model.size_bytes);
  if (missing) return refuse(missing);
  const megabytes = (about.model.size_bytes / 1e6).toFixed(1);
  const { blob, kept } = await fetchModel(about.model.parts, (done, all) => {
    progress(`Fetching the model, once: ${(done / 1e6).toFixed(1)} of ${megabytes} MB`, done / all);
  });
  progress("Opening the model");
  const opening = Engine.open(about.settings, blob, threadsFor(blob.size));
  // While the worker opens the model, the guard is made ready here.
  const guarding = tables.then((found) => {
    page.guard = new Guard(found);
    offerCountries(found.help);
  });
  [page.engine] = await Promise.all([opening, guarding]);
  at("loading").hidden = true;
  offerOpeners();
  at("send").disabled = false;
  if (matchMedia("(pointer: fine)").matches) at("said").focus(); // on a phone it opens the keyboard
  document.body.dataset.state = "ready";
  tellFacts(about, "is not known yet");
  navigator.storage?.persist?.();
  const how = kept && (await keepPage()) ? "it opens without a network" : "it needs the network again";
  tellFacts(about, how);
}

/** Register what keeps the page for flight mode, once it no longer delays the model. */
async function keepPage() {
  const keeper = navigator.serviceWorker; // absent without https
  if (!keeper) return false;
  const before = keeper.controller;
  keeper.addEventListener("controllerchange", () => {
    if (before) at("facts").append(" · a newer version is ready: reload the page");
  });
  return keeper.register("sw.js").then(
    () => keeper.ready.then(() => true),
    () => false,
  );
}

async function json(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: the server answers ${response.status}`);
  return response.json();
}

function describe(about) {
  at("card").hidden = !about.card;
  at("report").hidden = !about.report;
  at("temperature").value = about.settings.sampling.temperature;
  at("longest").value = about.settings.sampling.max_tokens;
  at("longest").max = about.settings.context;
  showTemperature();
}

function tellFacts(about, next) {
  const { engine } = page;
  at("facts").textContent = [
    `${about.settings.name}, sha256 ${about.model.sha256.slice(0, 16)}`,
    `${(engine.memoryBytes / 1e6).toFixed(0)} MB for model, cache and buffers, ${engine.threads > 1 ? `${engine.threads} threads` : "one thread"}`,
    `next time ${next}`,
  ].join(" · ");
  at("facts").dataset.memoryBytes = engine.memoryBytes;
  at("facts").dataset.threads = engine.threads;
}

function progress(what, share) {
  at("loading-what").textContent = what;
  if (share === undefined) at("progress").removeAttribute("value");
  else at("progress").value = share;
}

/** Say plainly what is wrong, and leave it there. */
function refuse(why) {
  at("loading").hidden = true;
  at("notice").textContent = why;
  at("notice").hidden = false;
  document.body.dataset.state = "refused";
}

/** Help lines by country: the folder's own choice, else what the browser's language names. */
function offerCountries({ locale, locales }) {
  const { guard } = page;
  if (locale === "auto") guard.speak(navigator.language);
  for (const name of Object.keys(locales)) at("country").append(new Option(countryOf(name), name));
  at("country").value = guard.locale;
  at("country").addEventListener("change", () => guard.speak(at("country").value));
}

function countryOf(locale) {
  if (locale === "default") return "No country's own";
  const { region } = new Intl.Locale(locale);
  const names = new Intl.DisplayNames(["en"], { type: "region" });
  return region ? `${names.of(region)} (${locale})` : locale;
}

function offerOpeners() {
  for (const text of OPENERS) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => send(text));
    at("openers").append(button);
  }
}

function wire() {
  at("compose").addEventListener("submit", (event) => {
    event.preventDefault();
    if (page.answering) page.answering.abort();
    else send(at("said").value);
  });
  at("said").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!page.answering) send(at("said").value);
  });
  at("said").addEventListener("input", fit);
  at("temperature").addEventListener("input", showTemperature);
  at("settings").addEventListener("submit", (event) => event.preventDefault());
  at("more").addEventListener("click", () => {
    at("panel").hidden = !at("panel").hidden;
    at("more").setAttribute("aria-expanded", String(!at("panel").hidden));
  });
  at("new").addEventListener("click", anew);
  document.addEventListener("keydown", (event) => event.key === "Escape" && page.answering?.abort());
}

function showTemperature() {
  at("temperature-now").textContent = at("temperature").value;
}

function fit() {
  at("said").style.height = "auto";
  at("said").style.height = `${at("said").scrollHeight + 2}px`;
}

function anew() {
  page.answering?.abort();
  page.turns = [];
  at("chat").replaceChildren();
  at("notice").hidden = true;
  at("welcome").hidden = false;
  at("said").focus();
}

async function send(text) {
  const said = text.trim();
  if (!said || !page.engine || page.answering) return;
  at("said").value = "";
  fit();
  at("notice").hidden = true;
  at("welcome").hidden = true;
  const { turns } = page; // which "New chat" replaces while this one may still stream
  turns.push({ role: "user", content: said.toWellFormed?.() ?? said });
  const mine = row("user");
  mine.append(paragraph(said));
  if (await answer(turns)) return;
  mine.remove();
  at("said").value = said;
}

/** False when there is no reply, and the message is not said. */
async function answer(turns) {
  const stop = new AbortController();
  answering(stop);
  const found = page.guard.checkConversation(withBlocks(turns));
  const item = row("assistant");
  const block = found.fired && found.shown ? found.block : "";
  if (block) item.append(helpOf(found));
  const words = paragraph("");
  item.append(block ? folded(words) : words);
  scroll();
  if (block) announce(block);
  try {
    const { reply, figures } = await stream(turns, words, stop.signal);
    turns.push({ role: "assistant", content: reply, block });
    item.append(figuresOf(figures));
    if (turns === page.turns) announce(block ? `${WROTE} is folded below.` : reply);
    return true;
  } catch (error) {
    item.remove();
    turns.pop();
    refuseReply(error);
    return false;
  } finally {
    answering(null);
    scroll();
  }
}

/** The model reads the conversation without the guard's own blocks, and says what it cannot hold. */
async function stream(turns, words, signal) {
  const options = { temperature: +at("temperature").value, max_tokens: +at("longest").value || 1 };
  for (;;) {
    try {
      const reply = page.engine.reply(asked(turns), options, signal);
      let next = await reply.next();
      while (!next.done) {
        words.append(next.value.text);
        scroll();
        next = await reply.next();
      }
      return { reply: words.textContent, figures: next.value };
    } catch (error) {
      if (!(error instanceof TooLong) || turns.length < 3) throw error;
      turns.splice(0, 2);
      drop();
    }
  }
}

function asked(turns) {
  const system = at("system").value.trim();
  const said = turns.map(({ role, content }) => ({ role, content }));
  return system ? [{ role: "system", content: system }, ...said] : said;
}

function withBlocks(turns) {
  return turns.map(({ role, content, block = "" }) => ({ role, content: block + content }));
}

function refuseReply(error) {
  const why =
    error instanceof TooLong
      ? `The message is too long for this model: ${error.message}.`
      : `No reply: ${error?.message ?? error}`;
  at("notice").textContent = why;
  at("notice").hidden = false;
}

function answering(stop) {
  page.answering = stop;
  at("send").textContent = stop ? "Stop" : "Send";
  document.body.dataset.answering = stop ? "yes" : "no";
}

function row(role) {
  const item = document.createElement("li");
  item.className = role;
  const who = document.createElement("span");
  who.className = "unseen";
  who.textContent = role === "user" ? "You: " : "Kindred: ";
  item.append(who);
  at("chat").append(item);
  return item;
}

function paragraph(text) {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}

/** After a block of help a small model's words are no answer: only who opens them reads them. */
function folded(words) {
  const made = document.createElement("details");
  made.className = "wrote";
  const title = document.createElement("summary");
  title.textContent = WROTE;
  made.append(title, words);
  return made;
}

function helpOf({ before, resources }) {
  const help = document.createElement("div");
  help.className = "help";
  help.setAttribute("role", "note");
  help.setAttribute("aria-label", "People who can help");
  const list = document.createElement("ul");
  for (const { text } of resources) {
    const line = document.createElement("li");
    line.textContent = text;
    list.append(line);
  }
  help.append(paragraph(before), list, whose(page.guard.locale));
  return help;
}

/** A browser's language is a guess at a country, so it is said, with a way out of it. */
function whose(locale) {
  const made = paragraph(
    locale === "default"
      ? "Help lines of some countries may be chosen under More."
      : `These are the help lines of: ${countryOf(locale)}. In another country: ${ELSEWHERE}, or choose yours under More.`,
  );
  made.className = "whose";
  return made;
}

function figuresOf(figures) {
  const made = document.createElement("div");
  made.className = "figures";
  const seconds = figures.firstTokenMs === null ? null : (figures.firstTokenMs / 1000).toFixed(2);
  made.textContent = [
    ...(seconds ? [`first word after ${seconds} s`] : []),
    ...(figures.tokensPerS ? [`${figures.tokensPerS.toFixed(0)} tokens/s`] : []),
    ...(figures.finish === "length" ? ["cut at the longest reply"] : []),
    ...(figures.finish === "stopped" ? ["stopped"] : []),
  ].join(" · ");
  Object.assign(made.dataset, figures);
  return made;
}

function drop() {
  const item = document.createElement("li");
  item.className = "dropped";
  item.textContent = "The conversation is longer than the model can hold: it no longer reads the oldest turns.";
  at("chat").querySelector(".dropped")?.remove();
  at("chat").prepend(item);
}

function announce(text) {
  at("announce").textContent = text;
}

function scroll() {
  document.querySelector("main").scrollTo(0, document.querySelector("main").scrollHeight);
}

start().catch((error) => {
  refuse(error instanceof Mismatch ? MISMATCH : whyNotOpened(error));
});
