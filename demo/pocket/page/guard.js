// What runtime.guard does, by the same tables (guard.json, written by runtime/guarding/portable.py):
// a text, or a conversation, in; whether it suggests a crisis, and whom to name, out. Nothing is
// stored or sent. tests/demo/test_pocket_page.py compares it with Python on labelled messages.

const TOKENS = /[\p{L}\p{N}]+|[.!?;\n]+|[\u{1F300}-\u{1FAFF}]|\u2026/gu;
const APOSTROPHES = /[’‘ʼ`´'ʹ]/gu;
const LONG_RUN = /([\p{L}\p{Nl}\p{No}])\1{2,}/gu;
const WHOLE = /(?<![\p{L}\p{N}_])(i|you|he|she|it|we|they|that|there|who)'(ll|d)(?![\p{L}\p{N}_])/gu;
const WORD = /^[\p{L}\p{N}]/u;
const DIGITS = /^\p{Nd}+$/u;

export class Guard {
  constructor(tables) {
    this.tables = tables;
    this.wholes = new Map(Object.entries(tables.words.wholes));
    this.single = new Map(Object.entries(tables.words.single));
    this.pairs = new Map(Object.entries(tables.words.pairs));
    this.edges = tables.patterns.edges.map((edges) => new Map(Object.entries(edges)));
    this.names = new Map(Object.entries(tables.patterns.names).map(([n, names]) => [+n, names]));
    this.classes = new Map(Object.entries(tables.patterns.classes));
    this.stems = new Set(tables.patterns.stems);
    this.stemSizes = [...new Set(tables.patterns.stems.map((stem) => [...stem].length))];
    this.weights = new Map(Object.entries(tables.classifier.weights));
    this.locale = "default";
    this.speak(tables.help.locale);
  }

  /** Name the help lines of a locale, if the tables know it. */
  speak(locale) {
    const same = (name) => name.toLowerCase() === locale.toLowerCase();
    this.locale = Object.keys(this.tables.help.locales).find(same) ?? this.locale;
  }

  /** Assess one message; a long one passage by passage, by its worst. */
  check(text) {
    let score = 0;
    let fired = null;
    for (const words of this.passages(this.wordsOf(text))) {
      const seen = this.look(words);
      const chances = this.probabilities(seen);
      const chance = 1 - chances.get("not");
      const entry = this.sure(seen) ?? this.likely(seen, chances);
      if (entry && (!fired || chance > score)) fired = entry;
      score = Math.max(score, chance);
    }
    return fired ? { fired: true, score, entry: fired, ...this.help(fired) } : { fired: false, score };
  }

  /** Fire on the newest user message that matters; the block is shown once for it. */
  checkConversation(messages) {
    let shown = true;
    for (let place = messages.length - 1; place >= 0; place--) {
      const { role, content } = messages[place];
      if (role === "assistant" && this.opens(content)) shown = false;
      else if (role === "user") {
        const found = this.check(content);
        if (found.fired) return { ...found, message: place, shown };
      }
    }
    return { fired: false, score: 0, shown: false };
  }

  opens(content) {
    return this.tables.help.openings.some((opening) => content.startsWith(opening));
  }

  help(entry) {
    const { locales, opening, end } = this.tables.help;
    const lines = locales[this.locale];
    const before = lines[opening[entry.id]];
    const resources = entry.resources.flatMap((kind) => lines[kind].map((text) => ({ kind, text })));
    const block = [before, ...resources.map((resource) => `- ${resource.text}`)].join("\n") + end;
    return { before, resources, block };
  }

  sure({ signals, contexts }) {
    return this.tables.entries.find(
      (entry) =>
        entry.alone.some((name) => signals.has(name)) &&
        !entry.unless.some((name) => contexts.has(name)),
    );
  }

  likely({ signals }, chances) {
    const { threshold, threshold_of_words } = this.tables;
    if (1 - chances.get("not") < (signals.size ? threshold : threshold_of_words)) return undefined;
    return this.tables.entries.reduce((best, entry) =>
      chances.get(entry.id) > chances.get(best.id) ? entry : best,
    );
  }

  probabilities({ features, grams }) {
    const { classes, offset, grams_count } = this.tables.classifier;
    const totals = [...offset];
    const add = (feature, value) => {
      this.weights.get(feature)?.forEach((weight, place) => (totals[place] += weight * value));
    };
    const share = grams_count / Math.sqrt(Math.max(1, grams.size));
    for (const gram of grams) add(`w:${gram}`, share);
    for (const feature of features) add(feature, 1);
    const top = Math.max(...totals);
    const odds = totals.map((total) => Math.exp(total - top));
    const sum = odds.reduce((a, b) => a + b);
    return new Map(classes.map((name, place) => [name, odds[place] / sum]));
  }

  /** The words of a message; whatever ends a sentence is a stop. */
  wordsOf(text) {
    const plain = text
      .normalize("NFKC")
      .replace(APOSTROPHES, "'")
      .toLowerCase()
      .replace(WHOLE, (_, who, ending) => `${who} ${this.wholes.get(ending)}`)
      .replaceAll("'", "")
      .replace(LONG_RUN, "$1$1");
    const found = plain.match(TOKENS) ?? [];
    const stop = this.tables.words.stop;
    return this.contracted(
      found.map((token) => (WORD.test(token) || token.codePointAt(0) > 0x2fff ? token : stop)),
    );
  }

  contracted(words) {
    const made = [];
    for (const word of words.flatMap((each) => (this.single.get(each) ?? each).split(" "))) {
      const joined = made.length ? this.pairs.get(`${made.at(-1)} ${word}`) : undefined;
      if (joined === undefined) made.push(word);
      else made[made.length - 1] = joined;
    }
    return made;
  }

  /** A short message whole; a long one as sentences in groups, so that none drowns another. */
  *passages(words) {
    const longest = this.tables.features.longest_passage;
    if (words.length <= longest) {
      yield words;
      return;
    }
    let start = 0;
    while (start < words.length) {
      let end = Math.min(start + longest, words.length);
      const stops = [];
      for (let place = start + 1; place < end; place++) {
        if (words[place] === this.tables.words.stop) stops.push(place);
      }
      if (end < words.length && stops.length) end = stops.at(-1) + 1;
      yield words.slice(start, end);
      if (end === words.length) return;
      const back = stops.map((place) => place + 1).filter((place) => place < end);
      start = back.length ? back.at(-1) : Math.max(end - Math.floor(longest / 4), start + 1);
    }
  }

  /** Signals, contexts, and what the classifier weighs. */
  look(words) {
    const { harmless, signal, context } = this.tables.patterns;
    const { covered: mark, manners } = this.tables.features;
    const found = this.find(words);
    const covered = new Set();
    for (const hit of found) {
      if (hit.name === harmless) for (let at = hit.start; at < hit.end; at++) covered.add(at);
    }
    const signals = new Set();
    const contexts = new Set();
    for (const hit of found) {
      if (hit.name.startsWith(signal)) {
        let free = true;
        for (let at = hit.start; at < hit.end; at++) free &&= !covered.has(at);
        if (free) signals.add(hit.name.slice(signal.length));
      } else if (hit.name.startsWith(context)) contexts.add(hit.name.slice(context.length));
    }
    const features = new Set();
    for (const name of signals) {
      features.add(`s:${name}`);
      for (const manner of manners) if (contexts.has(manner)) features.add(`${name}&${manner}`);
    }
    for (const name of contexts) features.add(`c:${name}`);
    if (covered.size) features.add("covered");
    for (let n = 1; n < 4; n++) if (signals.size > n) features.add(`signals>${n}`);
    const shown = words.map((word, place) => (covered.has(place) ? mark : word));
    return { signals, contexts, features, grams: this.grams(shown) };
  }

  grams(words) {
    const { stop } = this.tables.words;
    const shown = [stop, ...words.map((word) => (DIGITS.test(word) ? "#" : word)), stop];
    const stems = shown.map((word) => this.stem(word));
    const found = new Set([...shown, ...stems]);
    for (const chain of [shown, stems]) {
      for (let at = 1; at < chain.length; at++) found.add(`${chain[at - 1]} ${chain[at]}`);
    }
    for (const none of [stop, `${stop} ${stop}`, this.tables.features.covered]) found.delete(none);
    return found;
  }

  stem(word) {
    const { endings, shortest_stem } = this.tables.features;
    const size = [...word].length;
    const ending = endings.find((e) => word.endsWith(e) && size - e.length >= shortest_stem);
    return ending ? `${word.slice(0, -ending.length)}-` : word;
  }

  /** Every occurrence of a pattern, also those within others. */
  find(words) {
    const symbols = words.map((word) => this.symbols(word));
    return words.flatMap((_, start) => this.from(symbols, start));
  }

  symbols(word) {
    const letters = [...word];
    const stems = this.stemSizes
      .filter((size) => size <= letters.length)
      .map((size) => letters.slice(0, size).join(""))
      .filter((stem) => this.stems.has(stem));
    return [word, ...(this.classes.get(word) ?? []), ...stems.map((stem) => `${stem}*`)];
  }

  from(symbols, start) {
    const { gap } = this.tables.patterns;
    const found = [];
    const seen = new Set();
    const waiting = [[0, start]];
    while (waiting.length) {
      const [node, at] = waiting.pop();
      const key = node * (symbols.length + 1) + at;
      if (seen.has(key)) continue;
      seen.add(key);
      for (const name of this.names.get(node) ?? []) found.push({ name, start, end: at });
      for (const symbol of symbols[at] ?? []) {
        for (const target of this.edges[node].get(symbol) ?? []) waiting.push([target, at + 1]);
      }
      for (const target of this.edges[node].get(gap) ?? []) {
        for (const place of this.places(symbols, at)) waiting.push([target, place]);
      }
    }
    return found;
  }

  /** Where a gap that begins at `at` may end: within the sentence. */
  *places(symbols, at) {
    const last = Math.min(at + this.tables.patterns.gap_words, symbols.length);
    for (let place = at; place <= last; place++) {
      yield place;
      if (place < symbols.length && symbols[place][0] === this.tables.words.stop) return;
    }
  }
}
