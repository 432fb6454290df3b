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
  // small letters are made once, at the first search
  lowered() {
    this.small ??= (this.dictionary ?? this.values).map((text) => (text === null ? "" : text.toLowerCase()));
    return this.small;
  }
  finder(word) {
    const small = this.lowered();
    if (!this.dictionary) return (row) => small[row].includes(word);
    const holds = small.map((text) => text.includes(word));
    return (row) => this.codes[row] >= 0 && holds[this.codes[row]];
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
