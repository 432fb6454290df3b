// The list: only the cards that can be seen are in the document, however many clips there are.

const SPARE = 3; // cards above and below what is seen
const MAX_HEIGHT = 30_000_000; // browsers stop counting pixels soon after
const WIDE_HEIGHT = 620;

class List {
  constructor(gallery, cards, filters) {
    Object.assign(this, { gallery, cards, filters });
    this.box = byId("list");
    this.clips = new Int32Array(0);
    this.shown = new Map(); // place -> card
    this.place = 0; // of the clip that keys act on
    this.at = 0; // which of its labels
    this.wide = -1; // the place of the one card that is larger
    this.isFocusing = false; // the focus moves because the list moves it
    addEventListener("scroll", () => this.draw(), { passive: true });
    addEventListener("resize", () => this.redraw());
    this.box.addEventListener("click", (event) => this.clicked(event));
    this.box.addEventListener("focusin", (event) => this.focused(event));
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  }

  filter() {
    const { clips, numRows } = this.filters.apply();
    this.all = clips.length;
    this.clips = clips.subarray(0, Math.floor(MAX_HEIGHT / this.rowHeight));
    this.stop();
    [this.place, this.at, this.wide] = [0, 0, -1];
    const { gallery } = this;
    const ofAll = this.all === gallery.numClips ? "" : ` of ${NUMBER.format(gallery.numClips)}`;
    byId("count").textContent = `${NUMBER.format(this.all)}${ofAll} clips, ${NUMBER.format(numRows)} labels`;
    byId("more").hidden = this.clips.length === this.all;
    byId("more").textContent = `${NUMBER.format(this.all - this.clips.length)} more clips: narrow the search to see them`;
    this.redraw();
    const top = byId("gallery").getBoundingClientRect().top;
    if (top < 0) scrollTo({ top: scrollY + this.box.getBoundingClientRect().top - byId("bar").offsetHeight - 20 });
  }

  top(place) {
    return place * this.rowHeight + (this.wide >= 0 && place > this.wide ? this.extra : 0);
  }

  get extra() {
    return Math.max(0, WIDE_HEIGHT - this.rowHeight);
  }

  placeAt(y) {
    const height = this.rowHeight;
    if (this.wide < 0 || y < (this.wide + 1) * height) return Math.floor(y / height);
    return Math.max(this.wide, Math.floor((y - this.extra) / height));
  }

  redraw() {
    for (const card of this.shown.values()) card.remove();
    this.shown.clear();
    this.box.style.height = `${this.top(this.clips.length) || 0}px`;
    this.draw();
  }

  draw() {
    const above = -this.box.getBoundingClientRect().top;
    const from = Math.max(0, this.placeAt(Math.max(0, above)) - SPARE);
    const to = Math.min(this.clips.length, this.placeAt(Math.max(0, above + innerHeight)) + SPARE + 1);
    for (const [place, card] of this.shown) {
      const isKept = place === this.place && card.contains(document.activeElement);
      if ((place < from || place >= to) && !isKept) {
        card.remove();
        this.shown.delete(place);
      }
    }
    for (let place = from; place < to; place += 1) if (!this.shown.has(place)) this.add(place);
  }

  add(place) {
    const card = this.cards.make(this.clips[place], {
      place,
      total: this.clips.length,
      isWide: place === this.wide,
      isHere: place === this.place,
      at: this.at,
      words: this.filters.words,
      matches: this.filters.matches,
    });
    card.style.top = `${this.top(place)}px`;
    if (place === this.wide) card.style.height = `${this.rowHeight + this.extra - 12}px`;
    const next = [...this.shown.keys()].filter((other) => other > place).sort((a, b) => a - b)[0];
    this.box.insertBefore(card, next === undefined ? null : this.shown.get(next)); // read in order
    this.shown.set(place, card);
    showLabel(card);
    return card;
  }

  // the same card made anew; what had the focus has it again
  refresh(place) {
    const old = this.shown.get(place);
    if (!old) return;
    const hadFocus = old.contains(document.activeElement);
    const y = scrollY;
    const video = old.querySelector("video");
    const down = old.querySelector(".said")?.scrollTop ?? 0;
    this.shown.delete(place);
    const card = this.add(place);
    if (video && this.cards.playing === this.clips[place]) card.querySelector("video")?.replaceWith(video); // plays on
    card.querySelector(".said").scrollTop = down;
    showLabel(card);
    old.remove();
    if (hadFocus) this.focus(card);
    scrollTo({ top: y, behavior: "instant" });
  }

  go(place, at = 0, { focus = true } = {}) {
    if (!this.clips.length) return;
    const before = this.place;
    this.place = Math.min(Math.max(place, 0), this.clips.length - 1);
    this.at = Math.min(Math.max(at, 0), this.numLabels(this.place) - 1);
    if (before !== this.place) this.refresh(before);
    this.intoView();
    this.draw();
    if (this.shown.has(this.place)) this.refresh(this.place);
    else this.add(this.place);
    if (focus) this.focus(this.shown.get(this.place));
  }

  focus(card) {
    this.isFocusing = true;
    card.focus({ preventScroll: true });
    this.isFocusing = false;
  }

  numLabels(place) {
    return this.cards.labelsOf(this.clips[place]).length;
  }

  // by labels, across clips; false at the end
  step(by) {
    const at = this.at + by;
    if (at >= 0 && at < this.numLabels(this.place)) this.go(this.place, at);
    else if (this.place + by < 0 || this.place + by >= this.clips.length) return false;
    else this.go(this.place + by, by > 0 ? 0 : Infinity);
    return true;
  }

  intoView() {
    const bar = byId("bar");
    const head = getComputedStyle(bar).position === "sticky" ? bar.offsetHeight + 8 : 8;
    const top = this.box.getBoundingClientRect().top + this.top(this.place);
    const height = this.rowHeight + (this.place === this.wide ? this.extra : 0);
    if (top < head || height > innerHeight - head) scrollBy({ top: top - head, behavior: "instant" });
    else if (top + height > innerHeight) scrollBy({ top: top + height - innerHeight, behavior: "instant" });
  }

  enlarge(place) {
    const isLarger = this.wide === place;
    this.wide = isLarger ? -1 : place;
    this.place = place;
    const video = this.shown.get(place)?.querySelector("video");
    this.redraw();
    if (video) this.shown.get(place)?.querySelector("video")?.replaceWith(video);
    this.go(place, this.at);
  }

  play(place) {
    const clip = this.clips[place];
    const video = this.shown.get(place)?.querySelector("video");
    if (video) {
      if (video.paused) video.play();
      else video.pause();
      return;
    }
    this.stop();
    this.cards.playing = clip;
    this.go(place, this.at);
    this.refresh(place);
  }

  stop() {
    const before = this.cards.playing;
    this.cards.playing = null;
    if (before === null) return;
    for (const [place, card] of this.shown) if (card.querySelector("video")) this.refresh(place);
  }

  placeOf(element) {
    const card = element.closest(".card");
    return [...this.shown].find(([, shown]) => shown === card)?.[0] ?? -1;
  }

  focused(event) {
    const place = this.placeOf(event.target);
    if (!this.isFocusing && place >= 0 && place !== this.place && event.target.classList.contains("card")) this.go(place);
  }

  clicked(event) {
    const place = this.placeOf(event.target);
    if (place < 0) return;
    const label = event.target.closest(".label");
    if (event.target.closest(".play")) this.play(place);
    else if (event.target.closest(".size")) this.enlarge(place);
    else if (event.target.closest("[data-decision]")) decided(this, place, label, event.target.closest("[data-decision]").dataset.decision);
    else if (event.target.closest("video, textarea, .editor")) return;
    else if (!String(getSelection())) this.go(place, label ? Number(label.dataset.index) : place === this.place ? this.at : 0);
  }
}

// scrolls the card's own text only, never the page
function showLabel(card) {
  const label = card.querySelector(".label.at");
  if (!label) return;
  const said = card.querySelector(".said");
  const [box, here] = [said.getBoundingClientRect(), label.getBoundingClientRect()];
  const head = said.querySelector(".head").offsetHeight;
  if (here.top < box.top + head || here.height > box.height - head) said.scrollTop += here.top - box.top - head;
  else if (here.bottom > box.bottom) said.scrollTop += here.bottom - box.bottom + 8;
}
