// Which clips are shown, in which order. A clip is shown when one of its labels meets everything that is asked.

const ORDERS = [
  ["sample", "random sample"],
  ["worst", "worst first"],
  ["grounding", "least grounded"],
  ["mean_logprob", "least likely"],
  ["agreement", "least agreed"],
  ["long", "longest clip"],
  ["name", "by name"],
];
const MAIN_CHOICES = ["task", "language", "pool", "level", "model", "subtitle_source", "subtitle_language", "finish_reason"];

// numbers that every label has, and that nobody orders clips by
const USUAL_NUMBERS = ["mean_logprob", "grounding", "agreement", "num_tokens", "num_frames", "num_subtitle_words", "width", "height", "fps", "video_seconds"];
const MAX_MEASURED = 30;

class Filters {
  constructor(gallery, onChange) {
    this.gallery = gallery;
    this.onChange = onChange;
    this.words = [];
    this.flags = new Set(); // any of these
    this.choices = new Map();
    this.range = null; // of the numbers in a column: [name, least, most]
    this.order = "sample";
    this.matches = new Uint8Array(gallery.numRows);
    this.states = null;
    this.sorted = new Map();
  }

  setUp(isWorstFirst) {
    const { gallery } = this;
    const orders = ORDERS.filter(([name]) => name !== "sample" || !isWorstFirst); // then the page holds no sample
    const usable = orders.filter(([name]) => !["grounding", "mean_logprob", "agreement"].includes(name) || gallery.columns.has(name));
    for (const [name, title] of usable) byId("order").append(el("option", { value: name }, title));
    for (const { name } of this.numbers.filter((column) => !USUAL_NUMBERS.includes(column.name)))
      for (const way of ["most", "least"]) byId("order").append(el("option", { value: `${way} ${name}` }, `${way} ${name.replaceAll("_", " ")}`));
    this.order = isWorstFirst ? "worst" : "sample";
    byId("order").value = this.order;
    byId("order").addEventListener("change", (event) => this.set(() => (this.order = event.target.value)));
    byId("search").addEventListener("input", (event) => this.set(() => (this.words = wordsOf(event.target.value))));
    byId("clear").addEventListener("click", () => this.clear());
    if (gallery.isCompared) this.addChoice("comparison", ["same text", "different text", "only in the first", "only in the second"]);
    if (gallery.columns.has("label_id") && (isReviewing() || Object.keys(gallery.reviews).length)) this.addChoice("review", ["not reviewed", "accept", "edit", "reject"]);
    const named = [...gallery.columns.values()].filter((column) => column.kind === "choice" && column.dictionary.length > 1);
    const rank = (column) => (MAIN_CHOICES.indexOf(column.name) + 99) % 99;
    for (const column of named.sort((a, b) => rank(a) - rank(b)).slice(0, 12)) this.addChoice(column.name, [...column.dictionary].sort());
    this.addRange();
    this.addFlags();
  }

  // signals and scores, the manifest's too
  get numbers() {
    return [...this.gallery.columns.values()].filter((column) => column.kind === "number").slice(0, MAX_MEASURED);
  }

  addRange() {
    if (!this.numbers.length) return;
    const names = this.numbers.map(({ name }) => el("option", { value: name }, name.replaceAll("_", " ")));
    const select = el("select", { id: "range" }, el("option", { value: "" }, "any"), ...names);
    const bound = (id, title) => el("input", { type: "number", step: "any", id, "aria-label": `${title}, of the number chosen before` });
    const [least, most] = [bound("range-least", "At least"), bound("range-most", "At most")];
    const change = () => this.set(() => (this.range = select.value ? [select.value, numberIn(least, -Infinity), numberIn(most, Infinity)] : null));
    select.addEventListener("change", change);
    for (const input of [least, most]) input.addEventListener("input", change);
    byId("choices").append(el("label", { class: "pick" }, "number", select), el("span", { class: "pick" }, "from", least, "to", most));
  }

  addChoice(name, values) {
    const select = el("select", { id: `choice-${name}`, "data-choice": name }, el("option", { value: "" }, "any"));
    values.forEach((value) => select.append(el("option", { value: `=${value}` }, value)));
    select.addEventListener("change", () => this.set(() => (select.value ? this.choices.set(name, select.value.slice(1)) : this.choices.delete(name))));
    byId("choices").append(el("label", { class: "pick" }, name.replaceAll("_", " "), select));
  }

  addFlags() {
    const column = this.gallery.columns.get("flags");
    if (!column?.dictionary.length) return;
    const counts = new Map([["clean", 0], ...column.dictionary.map((flag) => [flag, 0])]);
    for (const codes of column.rows) {
      if (!codes.length) counts.set("clean", counts.get("clean") + 1);
      for (const code of codes) counts.set(column.dictionary[code], counts.get(column.dictionary[code]) + 1);
    }
    for (const [flag, count] of [...counts].sort((a, b) => b[1] - a[1])) {
      const button = el("button", { type: "button", class: `chip ${flagClass(flag)}`, "aria-pressed": "false", "data-flag": flag }, `${flag} ${NUMBER.format(count)}`);
      button.addEventListener("click", () => this.toggleFlag(flag));
      byId("flag-buttons").append(button);
    }
  }

  toggleFlag(flag, only = false) {
    this.set(() => {
      const isOn = this.flags.has(flag);
      if (only) this.flags.clear();
      if (isOn && !only) this.flags.delete(flag);
      else this.flags.add(flag);
    });
  }

  pick(column, value) {
    if (column === "flags") this.toggleFlag(value, true);
    else {
      const select = document.querySelector(`[data-choice="${column}"]`);
      if (!select) return;
      select.value = `=${value}`;
      this.set(() => this.choices.set(column, value));
    }
    byId("gallery").scrollIntoView();
  }

  clear() {
    byId("search").value = "";
    for (const id of ["range", "range-least", "range-most"]) if (byId(id)) byId(id).value = "";
    for (const select of document.querySelectorAll("[data-choice]")) select.value = "";
    this.set(() => {
      this.words = [];
      this.flags.clear();
      this.choices.clear();
      this.range = null;
    });
  }

  set(change) {
    change();
    for (const button of document.querySelectorAll("[data-flag]")) button.setAttribute("aria-pressed", String(this.flags.has(button.dataset.flag)));
    this.onChange();
  }

  // the clips to show; leaves in `matches` which labels meet what is asked
  apply() {
    const { gallery, matches } = this;
    matches.fill(1);
    for (const test of this.tests()) for (let row = 0; row < matches.length; row += 1) if (matches[row] && !test(row)) matches[row] = 0;
    for (const word of this.words) this.narrow(word);
    const shown = new Uint8Array(gallery.numClips);
    let numRows = 0;
    for (let row = 0; row < matches.length; row += 1)
      if (matches[row]) {
        shown[gallery.clip[row]] = 1;
        numRows += 1;
      }
    return { clips: this.ordered().filter((clip) => shown[clip]), numRows };
  }

  tests() {
    const { gallery } = this;
    const tests = [];
    for (const [name, value] of this.choices) {
      if (name === "review") tests.push((row) => (gallery.review(row)?.[0] ?? "not reviewed") === value);
      else if (name === "comparison") tests.push((row) => this.pairStates()[row] === value);
      else {
        const column = gallery.columns.get(name);
        const code = column.dictionary.indexOf(value);
        tests.push((row) => column.codes[row] === code);
      }
    }
    if (this.range) {
      const [name, least, most] = this.range;
      const { values } = gallery.columns.get(name);
      tests.push((row) => values[row] !== null && values[row] >= least && values[row] <= most);
    }
    if (this.flags.size) {
      const column = gallery.columns.get("flags");
      const wanted = column.dictionary.map((flag) => this.flags.has(flag));
      const takesClean = this.flags.has("clean");
      tests.push((row) => (column.rows[row].length ? column.rows[row].some((code) => wanted[code]) : takesClean));
    }
    return tests;
  }

  get searched() {
    return [...this.gallery.columns.values()].filter((column) => column.kind === "text");
  }

  // only the labels that hold the word stay in `matches`
  narrow(word) {
    const { gallery, matches } = this;
    this.smallNames ??= gallery.names.map((name, at) => `${name} ${gallery.paths[at] ?? ""}`.toLowerCase());
    const marks = new Uint8Array(matches.length);
    const inName = this.smallNames.map((name) => name.includes(word));
    for (let row = 0; row < marks.length; row += 1) if (inName[gallery.clip[row]]) marks[row] = 1;
    for (const column of this.searched) column.mark(word, matches, marks);
    for (let row = 0; row < marks.length; row += 1) matches[row] &= marks[row];
  }

  // so that the first search is as quick as the others
  prepare() {
    const idle = window.requestIdleCallback ?? ((act) => setTimeout(() => act({ timeRemaining: () => 10 }), 20));
    const work = (deadline) => {
      const next = () => this.searched.find((column) => !column.isLowered);
      while (next() && deadline.timeRemaining() > 2) next().lowered(1000);
      if (next()) idle(work);
    };
    idle(work);
  }

  pairStates() {
    if (!this.states) {
      this.states = new Array(this.gallery.numRows);
      for (let clip = 0; clip < this.gallery.numClips; clip += 1)
        for (const pair of this.gallery.pairsOf(clip)) for (const row of pair) if (row >= 0) this.states[row] = this.gallery.pairState(pair);
    }
    return this.states;
  }

  ordered() {
    if (!this.sorted.has(this.order)) this.sorted.set(this.order, this.sort(this.order));
    return this.sorted.get(this.order);
  }

  sort(order) {
    const { gallery } = this;
    const clips = Int32Array.from({ length: gallery.numClips }, (_, at) => at);
    if (order === "sample") return clips;
    if (order === "name") {
      const collator = new Intl.Collator("en", { numeric: true });
      return clips.sort((a, b) => collator.compare(gallery.names[a], gallery.names[b]));
    }
    const seconds = (clip) => (gallery.end[clip] ?? gallery.start[clip]) - gallery.start[clip];
    if (order === "long") return clips.sort((a, b) => seconds(b) - seconds(a));
    const [, way, measured] = order.match(/^(most|least) (.+)$/s) ?? [];
    if (measured) return this.sortBy(clips, measured, way === "most" ? -1 : 1);
    const lowest = this.lowest(order === "worst" ? "grounding" : order);
    if (order === "worst") return clips.sort((a, b) => gallery.severity[b] - gallery.severity[a] || compare(lowest[a], lowest[b]));
    return clips.sort((a, b) => compare(lowest[a], lowest[b]));
  }

  // by the number of a clip's first label that has one; clips without any come last
  sortBy(clips, name, sign) {
    const { gallery } = this;
    const keys = new Float64Array(gallery.numClips).fill(Infinity);
    gallery.columns.get(name).values.forEach((value, row) => {
      if (value !== null && keys[gallery.clip[row]] === Infinity) keys[gallery.clip[row]] = sign * value;
    });
    return clips.sort((a, b) => compare(keys[a], keys[b]));
  }

  lowest(name) {
    const { gallery } = this;
    const lowest = new Float64Array(gallery.numClips).fill(Infinity);
    const values = gallery.columns.get(name)?.values ?? [];
    values.forEach((value, row) => {
      if (value !== null && value < lowest[gallery.clip[row]]) lowest[gallery.clip[row]] = value;
    });
    return lowest;
  }
}

const compare = (a, b) => (a === b ? 0 : a - b); // infinity less infinity is no number

const numberIn = (input, otherwise) => (input.value === "" || Number.isNaN(input.valueAsNumber) ? otherwise : input.valueAsNumber);

// "red car" door -> the phrase and the word, in small letters
const wordsOf = (text) => [...text.toLowerCase().matchAll(/"([^"]+)"?|(\S+)/g)].map((found) => found[1] ?? found[2]);
