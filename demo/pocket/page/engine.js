// One open file that answers one conversation after another, token by token, and keeps what the
// last one has evaluated. Prompt, end tokens, sampling and penalties are those of runtime/engine.py;
// the numbers come from pocket.json, which the runtime wrote.

import { Prompter } from "./prompter.js";
import { Wllama } from "./vendor/wllama.js";

const CHUNK = 128; // tokens evaluated at once: how long a prompt goes on after Stop
const SMALL_FILE_BYTES = 50e6; // below, the cache keeps floats, which need no converting: twice the
// memory of halves, but less than some 30 MB for so small a model
const ANEW = -1; // a seed that is drawn from the clock for every reply
const BUFFER = /(?:KV|compute|output) +buffer size += +([0-9.]+) MiB/g; // what llama.cpp takes
const WASM = {
  "single-thread/wllama.wasm": "./vendor/wllama-single.wasm",
  "multi-thread/wllama.wasm": "./vendor/wllama-multi.wasm",
};

export class TooLong extends Error {}
export class Mismatch extends Error {}

export class Engine {
  /** Open a file; `settings` is what `distill runtime describe` tells of it. */
  static async open(settings, blob, threads) {
    const said = [];
    const hear = (...parts) => said.push(parts.map(String).join(" "));
    const wllama = new Wllama(WASM, {
      logger: { debug: hear, log: hear, warn: hear, error: (...parts) => hear("error:", ...parts) },
    });
    const cached = blob.size < SMALL_FILE_BYTES ? "f32" : "f16";
    try {
      await wllama.loadModel([blob], {
        n_ctx: settings.context,
        n_batch: CHUNK,
        n_threads: threads,
        cache_type_k: cached,
        cache_type_v: cached,
        flash_attn: false, // it adds halves, which WebAssembly converts one by one
        seed: ANEW,
      });
    } catch (error) {
      wllama.exit().catch(() => {}); // a worker without memory may never answer
      const why = said.filter((line) => line.startsWith("error:")).slice(0, 2);
      throw new Error([error?.message ?? String(error), ...why].join("; "));
    }
    const buffers = said.flatMap((line) => [...line.matchAll(BUFFER)]).map((found) => +found[1]);
    const engine = new Engine(settings, wllama);
    engine.memoryBytes = blob.size + buffers.reduce((a, b) => a + b, 0) * 2 ** 20;
    await engine.probe();
    return engine;
  }

  constructor(settings, wllama) {
    this.settings = settings;
    this.wllama = wllama;
    this.context = settings.context;
    this.prompter = new Prompter(settings, (text) => wllama.tokenize(text, false));
    this.control = new Set(Object.values(settings.control));
    this.ends = new Set(wllama.getLoadedContextInfo().list_tokens_eog);
    this.held = []; // the tokens in the cache
    this.memoryBytes = 0; // the file, and what llama.cpp says that it allocates beside it
  }

  get threads() {
    return this.wllama.getNumThreads();
  }

  /** Refuse to answer where a prompt would not be the runtime's. */
  async probe() {
    for (const { messages, ids } of this.settings.probes) {
      const found = await this.prompter.prompt(messages);
      if (found.join() !== ids.join()) throw new Mismatch("a prompt is not the runtime's");
    }
  }

  /**
   * Answer a conversation: yields `{ token, text }`, and returns the figures of the reply. The end
   * token is neither text nor counted; once `signal` is aborted no token follows.
   */
  async *reply(messages, options = {}, signal = undefined) {
    const asked = performance.now();
    const sampling = { ...this.settings.sampling, ...options };
    const penalty = sampling.repetition_penalty;
    const prompt = await this.prompter.prompt(messages);
    const limit = Math.min(sampling.max_tokens, this.context - prompt.length);
    if (limit < 1) throw new TooLong(`${prompt.length} tokens, and the context holds ${this.context}`);
    await this.sampleBy(sampling);
    const cached = await this.keepBeginning(prompt);
    const figures = { promptTokens: prompt.length, cachedTokens: cached, tokens: 0 };
    const decoder = new TextDecoder();
    let first = 0;
    let last = 0;
    figures.finish = "stopped";
    if (await this.evaluate(prompt.slice(cached), signal)) {
      let chosen = this.wllama.samplingSample();
      for (;;) {
        const { token, piece } = await chosen;
        if (this.ends.has(token)) {
          figures.finish = "stop";
          break;
        }
        last = performance.now();
        first ||= last;
        figures.tokens++;
        const done = figures.tokens === limit || signal?.aborted;
        if (!done) chosen = this.next(token, penalty);
        const bytes = this.control.has(token) ? new Uint8Array() : piece;
        yield { token, text: decoder.decode(bytes, { stream: true }) };
        if (done) {
          if (figures.tokens === limit) figures.finish = "length";
          break;
        }
      }
    }
    const rest = decoder.decode();
    if (rest) yield { token: null, text: rest };
    figures.firstTokenMs = first ? first - asked : null;
    figures.firstTokenAtMs = first || null; // since the page was opened
    figures.tokensPerS = figures.tokens > 1 ? ((figures.tokens - 1) * 1000) / (last - first) : null;
    return figures;
  }

  /**
   * Remember and evaluate a token, and choose the next one. The worker takes the three in order, so
   * they are asked at once: waiting for each would cost more than a small model computes.
   */
  async next(token, penalty) {
    const remembered = penalty === 1 ? null : this.wllama.samplingAccept([token]);
    const evaluated = this.evaluate([token]);
    const chosen = this.wllama.samplingSample();
    await Promise.all([remembered, evaluated, chosen]);
    return chosen;
  }

  async sampleBy(sampling) {
    await this.wllama.samplingInit({
      temp: sampling.temperature < 1e-6 ? 0 : sampling.temperature,
      top_k: sampling.top_k,
      top_p: sampling.top_p,
      min_p: sampling.min_p,
      penalty_repeat: sampling.repetition_penalty,
      penalty_last_n: sampling.penalty_tokens,
    });
  }

  /** Forget what the cache holds beyond the beginning that it shares with a prompt. */
  async keepBeginning(prompt) {
    let same = 0;
    const most = Math.min(this.held.length, prompt.length - 1);
    while (same < most && this.held[same] === prompt[same]) same++;
    try {
      if (same && same < this.held.length) await this.wllama.kvRemove(same, -1);
    } catch {
      same = 0; // a recurrent state has no earlier one
    }
    if (!same) await this.wllama.kvClear();
    this.held.length = same;
    return same;
  }

  /** Append tokens, in chunks; false when it was told to stop between two of them. */
  async evaluate(tokens, signal) {
    for (let start = 0; start < tokens.length; start += CHUNK) {
      if (signal?.aborted) return false;
      const chunk = tokens.slice(start, start + CHUNK);
      await this.wllama.decode(chunk, { skipLogits: start + CHUNK < tokens.length });
      this.held.push(...chunk);
    }
    return true;
  }
}
