// One clip as a card: its contact sheet or its video, and all that is said about it.

const SCORES = ["grounding", "agreement", "mean_logprob"];
const SAID_ELSEWHERE = new Set(["task", "prompt", "text", "language", "flags", ...SCORES]);

class Cards {
  constructor(gallery, sheets) {
    this.gallery = gallery;
    this.sheets = sheets;
    this.waiting = []; // sheets to be asked for
    this.numLoading = 0;
    this.playing = null; // the one clip whose video is on
  }

  make(clip, { place, total, isWide, isHere, at, words, matches }) {
    const { gallery } = this;
    const name = gallery.names[clip];
    const said = el("div", { class: "said" }, this.head(clip, isWide));
    this.labelsOf(clip).forEach((rows, index) => said.append(this.label(rows, { isAt: isHere && index === at, isWide, words, matches, index })));
    const id = `clip-${clip}`;
    return el(
      "article",
      { class: `card${isWide ? " wide" : ""}${isHere ? " here" : ""}`, tabindex: isHere ? "0" : "-1", "data-clip": clip, "aria-posinset": place + 1, "aria-setsize": total, "aria-labelledby": id, "aria-label": name },
      this.media(clip),
      said,
    );
  }

  // rows that are one entry of a card: a label, or the labels of two files about the same question
  labelsOf(clip) {
    return this.gallery.isCompared ? this.gallery.pairsOf(clip) : this.gallery.rowsOf(clip).map((row) => [row]);
  }

  head(clip, isWide) {
    const { gallery } = this;
    const [start, end] = [gallery.start[clip], gallery.end[clip]];
    const time = end === null ? `from ${clock(start)}` : `${clock(start)} – ${clock(end)} (${number(end - start, 1)} s)`;
    const title = el("h3", { id: `clip-${clip}`, title: gallery.paths[clip] ?? "" }, gallery.names[clip]);
    const size = el("button", { type: "button", class: "size", "aria-expanded": String(isWide) }, isWide ? "Smaller" : "Larger");
    return el("div", { class: "head" }, title, el("span", { class: "time" }, time), size);
  }

  media(clip) {
    const { gallery } = this;
    const box = el("div", { class: "media" });
    const address = gallery.videos[gallery.video[clip]];
    if (this.playing === clip && address !== null) {
      box.append(this.video(clip, address, box));
      return box;
    }
    const sheet = this.sheetOf(clip);
    if (typeof sheet === "string") {
      const image = el("img", { alt: `Frames of ${gallery.names[clip]}`, decoding: "async" });
      image.addEventListener("error", () => this.explain(image, sheet));
      if (isReviewing()) this.queue(image, sheet);
      else image.src = sheet;
      box.append(image);
    } else box.append(el("p", { class: "why" }, sheet?.why ?? "no contact sheet was made of this clip"));
    if (address !== null) box.append(el("button", { type: "button", class: "play", "aria-label": `Play ${gallery.names[clip]}` }, "▶ Play"));
    return box;
  }

  sheetOf(clip) {
    if (isReviewing()) return this.gallery.paths[clip] === null ? null : `sheet/${clip}${REVIEW.query}`;
    const sheet = this.sheets?.[clip];
    return typeof sheet === "string" ? `data:image/webp;base64,${sheet}` : sheet;
  }

  // few at a time, the latest first: a browser asks a server six things at once, and decisions must not stand in line
  queue(image, address) {
    this.waiting.push([image, address]);
    setTimeout(() => this.load()); // when it is in the document
  }
  load() {
    while (this.numLoading < 3 && this.waiting.length) {
      const [image, address] = this.waiting.pop();
      if (!image.isConnected) continue; // scrolled past
      this.numLoading += 1;
      const done = () => {
        this.numLoading -= 1;
        this.load();
      };
      image.addEventListener("load", done, { once: true });
      image.addEventListener("error", done, { once: true });
      image.src = address;
    }
  }

  // a sheet that is made on demand: the server says in words why there is none
  async explain(image, address) {
    let why = "the contact sheet cannot be shown";
    if (isReviewing()) {
      const answer = await fetch(address).catch(() => null);
      why = answer ? (await answer.text()).slice(0, 400) : "the server does not answer";
    }
    image.replaceWith(el("p", { class: "why" }, why));
  }

  video(clip, address, box) {
    const { gallery } = this;
    const [start, end] = [gallery.start[clip], gallery.end[clip]];
    const video = el("video", { controls: true, autoplay: true, preload: "auto", "aria-label": `Video of ${gallery.names[clip]}` });
    video.muted = false;
    video.src = `${address}#t=${start}${end === null ? "" : `,${end}`}`;
    // browsers stop at the end once; played again, or sought past it, the clip is still only that span
    video.addEventListener("play", () => {
      if (end !== null && video.currentTime >= end - 0.05) video.currentTime = start;
    });
    video.addEventListener("timeupdate", () => {
      if (end !== null && video.currentTime >= end && !video.paused) video.pause();
    });
    video.addEventListener("error", () => {
      const why = "this browser cannot play it: the file is not where the page looks for it, or is of a kind that browsers do not play";
      video.remove();
      box.append(el("p", { class: "why" }, why, el("br"), gallery.paths[clip]));
    });
    return video;
  }

  label(rows, { isAt, isWide, words, matches, index }) {
    const { gallery } = this;
    const first = rows.find((row) => row >= 0);
    const isOff = !rows.some((row) => row >= 0 && matches[row]);
    const made = el("div", { class: `label${isAt ? " at" : ""}${isOff ? " off" : ""}${rows.length > 1 ? " pair" : ""}`, "data-index": index, "data-row": first });
    const prompt = gallery.get("prompt", first);
    if (prompt) made.append(el("div", { class: "prompt" }, marked(prompt, words)));
    if (rows.length > 1) {
      const texts = rows.map((row) => (row < 0 ? null : gallery.get("text", row)));
      const shown = texts.every((text) => text) && texts[0] !== texts[1] ? compared(...texts) : texts.map((text) => text && marked(text, words));
      const sides = rows.map((row, side) => el("div", { class: `side ${"ab"[side]}` }, textBox(shown[side], row < 0 ? `not in ${"AB"[side]}` : "no text"), row < 0 ? null : this.foot(row), row >= 0 && isWide ? this.rest(row) : null));
      made.append(el("div", { class: "sides" }, ...sides));
      return made;
    }
    const review = gallery.review(first);
    const text = gallery.get("text", first);
    if (review?.[0] === "edit") made.append(textBox(marked(review[1], words)), el("div", { class: "text" }, el("del", {}, text ?? "")));
    else made.append(textBox(text && marked(text, words), "no text"));
    made.append(this.foot(first));
    if (isWide) made.append(this.rest(first));
    if (isReviewing()) made.append(decisionBar(gallery, first));
    return made;
  }

  foot(row) {
    const { gallery } = this;
    const foot = el("div", { class: "foot" });
    const review = gallery.review(row);
    if (review && !isReviewing()) foot.append(el("span", { class: `chip ${{ accept: "good", edit: "mild", reject: "bad" }[review[0]]}` }, `${review[0]}ed`.replace("eed", "ed")));
    for (const flag of gallery.get("flags", row) ?? []) foot.append(el("span", { class: `chip ${flagClass(flag)}` }, flag));
    const facts = [gallery.get("task", row), gallery.get("language", row), gallery.get("level", row)].filter(Boolean);
    for (const name of SCORES) {
      const value = gallery.get(name, row);
      if (value !== null) facts.push(`${name.replace("mean_", "")} ${number(value, 2)}`);
    }
    foot.append(el("span", {}, facts.join(" · ")));
    return foot;
  }

  // every other column
  rest(row) {
    const list = el("dl", { class: "more" });
    for (const [name, column] of this.gallery.columns) {
      const value = column.value(row);
      if (SAID_ELSEWHERE.has(name) || value === null || value === "") continue;
      list.append(el("dt", {}, name), el("dd", {}, String(value)));
    }
    return list;
  }
}

const textBox = (content, otherwise) => (content ? el("div", { class: "text" }, content) : el("div", { class: "text none" }, otherwise));
