// Messages to token ids, as runtime/template.py does it: the file's own template; control tokens
// come from the template alone, so whoever types `<|end|>` has typed seven characters.

import { Template } from "./vendor/jinja.js";

const PRIVATE = 0xf0000; // the first private plane of Unicode
const LAST = 0x10fffd;
const SPACES = "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const TRAILING = new RegExp(`(?:${SPACES}|[\\x1c-\\x1f])+$`, "u"); // Python's idea of space
const LEADING = new RegExp(`^${SPACES}*`, "u");
const SPECIAL = /[.*+?^${}()|[\]\\/]/g;

export class Prompter {
  /** `encode` turns plain text into ids, parsing no control tokens. */
  constructor({ template, control, swallowing, begin, begin_text, end_text }, encode) {
    this.template = new Template(template);
    this.variables = { bos_token: begin_text, eos_token: end_text, tools: null, documents: null };
    this.ids = new Map(Object.entries(control));
    this.swallowing = new Set(swallowing);
    this.begin = begin;
    this.encode = encode;
    const texts = [...this.ids.keys()].sort((a, b) => b.length - a.length);
    const alternatives = texts.map((text) => text.replace(SPECIAL, "\\$&")).join("|");
    this.control = new RegExp(alternatives || "(?!)", "gu");
    this.beginnings = new Set(
      texts.flatMap((text) => Array.from({ length: text.length - 1 }, (_, n) => text.slice(0, n + 1))),
    );
    this.longest = Math.max(1, ...texts.map((text) => text.length));
  }

  /** Token ids of a conversation, ending where the reply begins. */
  async prompt(messages) {
    const standIns = new StandIns(messages.map(({ content }) => content));
    const shielded = messages.map(({ role, content }) => ({
      role,
      content: this.shield(content, standIns),
    }));
    const text = this.template.render({
      messages: shielded,
      add_generation_prompt: true,
      ...this.variables,
    });
    const ids = [];
    const plain = async (part) => {
      if (part) ids.push(...(await this.encode(standIns.undo(part))));
    };
    let done = 0;
    for (const match of text.matchAll(this.control)) {
      await plain(text.slice(done, match.index));
      const token = this.ids.get(match[0]);
      ids.push(token);
      done = match.index + match[0].length;
      if (this.swallowing.has(token)) done += LEADING.exec(text.slice(done))[0].length;
    }
    await plain(text.slice(done));
    return this.begin === null || ids[0] === this.begin ? ids : [this.begin, ...ids];
  }

  /** A content in which nothing reads as a control token, nor as the beginning of one. */
  shield(content, standIns) {
    const shielded = content.replace(this.control, (text) => standIns.take(text));
    const body = shielded.replace(TRAILING, "");
    for (let length = Math.min(this.longest, body.length); length > 0; length--) {
      const tail = body.slice(-length);
      if (this.beginnings.has(tail)) {
        return body.slice(0, -length) + standIns.take(tail) + shielded.slice(body.length);
      }
    }
    return shielded;
  }
}

/** Private characters, absent from the messages, that take a text's place while it renders. */
class StandIns {
  constructor(contents) {
    this.taken = new Set(contents.flatMap((text) => [...text]));
    this.next = PRIVATE;
    this.characters = new Map();
    this.texts = new Map();
  }

  take(text) {
    if (!this.characters.has(text)) {
      while (this.taken.has(String.fromCodePoint(this.next))) this.next++;
      if (this.next > LAST) throw new Error("the messages hold every private character");
      const character = String.fromCodePoint(this.next++);
      this.characters.set(text, character);
      this.texts.set(character, text);
    }
    return this.characters.get(text);
  }

  undo(text) {
    if (!this.texts.size) return text;
    return [...text].map((character) => this.texts.get(character) ?? character).join("");
  }
}
