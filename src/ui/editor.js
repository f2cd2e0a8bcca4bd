// The query box: a text area over its own coloured copy, with completion from the server's labels.

import { labelNames, labelValues } from "./api.js";
import { contextAt, RANGE_FUNCTIONS, STAGES, tokens, VECTOR_FUNCTIONS } from "./logql.js";

const CHOICES_MAX = 100;

export class Editor {
  /** `range()` gives the times that completion looks at; `run()` runs the query. */
  constructor(place, { range, run }) {
    this.range = range;
    this.run = run;
    this.choices = [];
    this.picked = 0;
    this.asked = 0;
    this.known = new Map();
    place.innerHTML = `
      <pre aria-hidden="true"></pre>
      <textarea rows="1" spellcheck="false" autocomplete="off" autocapitalize="off" aria-label="LogQL query"
        role="combobox" aria-expanded="false" aria-controls="choices" aria-autocomplete="list"
        placeholder='{service="…"} |= "text"'></textarea>
      <ul class="choices" id="choices" role="listbox" hidden></ul>`;
    [this.copy, this.text, this.list] = place.children;
    this.text.addEventListener("input", () => { this.paint(); this.complete(); });
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.text.addEventListener("blur", () => setTimeout(() => this.close(), 150));
    this.list.addEventListener("mousedown", (event) => {
      event.preventDefault();
      const at = [...this.list.children].indexOf(event.target.closest("li"));
      if (at >= 0) this.take(at);
    });
    this.paint();
  }

  get value() {
    return this.text.value;
  }

  set value(query) {
    this.text.value = query;
    this.paint();
  }

  focus() {
    this.text.focus();
  }

  paint() {
    this.copy.replaceChildren(...tokens(this.text.value).map(({ kind, text }) => {
      if (kind === "blank") return document.createTextNode(text);
      const span = document.createElement("span");
      span.className = `t-${kind}`;
      span.textContent = text;
      return span;
    }), document.createTextNode("\n"));
    this.text.style.height = "auto";
    this.text.style.height = `${Math.max(this.text.scrollHeight + 2, 32)}px`;
  }

  async complete(always = false) {
    const caret = this.text.selectionStart;
    const context = contextAt(this.text.value, caret);
    const asked = ++this.asked;
    if (!context || (!always && context.typed === "" && context.kind === "function")) return this.close();
    let words = [];
    try {
      words = await this.words(context);
    } catch {
      return this.close();
    }
    if (asked !== this.asked) return;
    const typed = context.typed.toLowerCase();
    const starts = words.filter((word) => word.text.toLowerCase().startsWith(typed));
    const has = words.filter((word) => !starts.includes(word) && word.text.toLowerCase().includes(typed));
    this.choices = [...starts, ...has].filter((word) => word.text !== context.typed).slice(0, CHOICES_MAX);
    this.context = context;
    this.open();
  }

  async words(context) {
    const of = (kind, list) => list.map((text) => ({ text, kind }));
    switch (context.kind) {
      case "label": return of("label", await this.remembered("", () => labelNames(this.range())));
      case "value": {
        const key = `${context.label} ${context.selector}`;
        return of("value", await this.remembered(key, () => labelValues(context.label, this.range(), context.selector)));
      }
      case "stage": return of("stage", STAGES);
      default: return [...of("over a range", RANGE_FUNCTIONS), ...of("over series", VECTOR_FUNCTIONS)];
    }
  }

  /** Answers stay for half a minute: typing asks the server once. */
  async remembered(key, fetchWords) {
    const kept = this.known.get(key);
    if (kept && performance.now() - kept.at < 30_000) return kept.words;
    const words = await fetchWords();
    this.known.set(key, { words, at: performance.now() });
    return words;
  }

  open() {
    if (this.choices.length === 0) return this.close();
    this.picked = 0;
    this.list.replaceChildren(...this.choices.map((choice, at) => {
      const item = document.createElement("li");
      item.role = "option";
      item.id = `choice-${at}`;
      item.append(choice.text, Object.assign(document.createElement("small"), { textContent: choice.kind }));
      return item;
    }));
    this.list.hidden = false;
    this.text.setAttribute("aria-expanded", "true");
    this.pick(0);
  }

  close() {
    this.list.hidden = true;
    this.text.setAttribute("aria-expanded", "false");
    this.text.removeAttribute("aria-activedescendant");
  }

  pick(at) {
    this.list.children[this.picked]?.setAttribute("aria-selected", "false");
    this.picked = (at + this.choices.length) % this.choices.length;
    const item = this.list.children[this.picked];
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    this.text.setAttribute("aria-activedescendant", item.id);
  }

  take(at) {
    const { kind, from, typed } = this.context;
    const rest = this.text.value.slice(from + typed.length);
    let word = this.choices[at].text;
    if (kind === "value") word = JSON.stringify(word).slice(1, -1) + (rest.startsWith('"') ? "" : '"');
    if (kind === "function") word += "(";
    if (kind === "label" && /\{[^}]*$/.test(this.text.value.slice(0, from)) && !/^\s*[=!]/.test(rest)) word += '="';
    this.text.setRangeText(word, from, from + typed.length, "end");
    this.paint();
    this.close();
    if (kind === "label" && word.endsWith('="')) this.complete();
  }

  key(event) {
    const isOpen = !this.list.hidden;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      this.close();
      this.run();
    } else if (event.key === " " && event.ctrlKey) {
      this.complete(true);
    } else if (isOpen && event.key === "ArrowDown") {
      this.pick(this.picked + 1);
    } else if (isOpen && event.key === "ArrowUp") {
      this.pick(this.picked - 1);
    } else if (isOpen && (event.key === "Enter" || event.key === "Tab")) {
      this.take(this.picked);
    } else if (isOpen && event.key === "Escape") {
      this.close();
    } else if (!isOpen && event.key === "Enter" && !event.shiftKey) {
      this.run();
    } else {
      return;
    }
    event.preventDefault();
  }
}
