// What the page shows: blocks of deflated JSON in the document, and the labels as columns.

async function readBlock(name) {
  const element = document.getElementById(`block-${name}`);
  if (!element) return null;
  const text = element.textContent;
  element.remove(); // megabytes that nobody needs twice
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// A column answers for a row: its value, and whether it holds a word in small letters.
class Column {
  constructor(made) {
    Object.assign(this, made);
  }
  value(row) {
    if (this.kind === "flags") return this.rows[row].map((code) => this.dictionary[code]);
    if (this.dictionary) return this.codes[row] < 0 ? null : this.dictionary[this.codes[row]];
    return this.values[row];
  }
  // in small letters, made once: a part at a time while nothing else is to do, the rest at the first search
  lowered(size = Infinity) {
    const texts = this.dictionary ?? this.values;
    this.small ??= [];
    for (const end = Math.min(texts.length, this.small.length + size); this.small.length < end; ) this.small.push(texts[this.small.length]?.toLowerCase() ?? "");
    return this.small;
  }
  get isLowered() {
    return (this.small?.length ?? 0) === (this.dictionary ?? this.values).length;
  }
  // marks the rows, of those that `open` marks, that hold a word
  mark(word, open, marks) {
    const small = this.lowered();
    if (!this.dictionary) {
      for (let row = 0; row < small.length; row += 1) if (open[row] && !marks[row] && small[row].includes(word)) marks[row] = 1;
      return;
    }
    const holds = Uint8Array.from(small, (text) => Number(text.includes(word)));
    const { codes } = this;
    for (let row = 0; row < codes.length; row += 1) if (codes[row] >= 0 && holds[codes[row]]) marks[row] = 1;
  }
}

class Gallery {
  constructor(block, reviews) {
    Object.assign(this, block);
    this.reviews = reviews; // label id -> [decision, text]
    this.columns = new Map(block.columns.map((made) => [made.name, new Column(made)]));
    this.numClips = this.names.length;
    this.numRows = this.clip.length;
    this.first = new Int32Array(this.numClips + 1); // rows are in the order of clips
    for (const clip of this.clip) this.first[clip + 1] += 1;
    for (let at = 0; at < this.numClips; at += 1) this.first[at + 1] += this.first[at];
    this.isCompared = this.side.includes(1);
  }
  get(name, row) {
    return this.columns.get(name)?.value(row) ?? null;
  }
  rowsOf(clip) {
    return Array.from({ length: this.first[clip + 1] - this.first[clip] }, (_, at) => this.first[clip] + at);
  }
  review(row) {
    return this.reviews[this.get("label_id", row)] ?? null;
  }
  // [row of one file, row of the other] for the same question; -1 where a file has none
  pairsOf(clip) {
    const pairs = [];
    for (const row of this.rowsOf(clip)) {
      const key = `${this.get("task", row)}\u001f${this.get("prompt", row)}`;
      const side = this.side[row];
      const pair = pairs.find((other) => other.key === key && other.rows[side] < 0);
      if (pair) pair.rows[side] = row;
      else pairs.push({ key, rows: side ? [-1, row] : [row, -1] });
    }
    return pairs.map((pair) => pair.rows);
  }
  pairState([a, b]) {
    if (b < 0) return "only in the first";
    if (a < 0) return "only in the second";
    return this.get("text", a) === this.get("text", b) ? "same text" : "different text";
  }
}
