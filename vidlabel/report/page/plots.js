// Summary and plots. Every plot has its numbers as a table beside it, for those who do not see it.

const SIDES = ["a", "b"];
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [400, 170, 40, 20];

function drawSummary(summary) {
  const files = summary.files;
  const isTwo = files.length > 1;
  document.body.classList.toggle("two", isTwo);
  byId("title").textContent = summary.title;
  byId("made").textContent = `vidlabel ${summary.version}, ${summary.made_at.replace("T", " ").replace("+00:00", " UTC")}`;
  if (isTwo) {
    byId("legend").hidden = false;
    files.forEach((file, at) => byId("legend").append(el("span", { class: SIDES[at] }, `${"AB"[at]}  ${file.name}`)));
  }
  const tiles = [
    ["labels", (f) => number(f.labels)],
    ["clips", (f) => number(f.clips)],
    ["videos", (f) => number(f.videos)],
    ["hours of clips", (f) => number(f.clip_hours, f.clip_hours < 10 ? 2 : 0)],
    ["clean", (f) => (f.flags ? percent(f.clean, f.labels) : "–")],
    ["different texts", (f) => number(f.distinct_texts)],
    ["words a label, median", (f) => number(f.words?.median)],
    ["seconds a clip, median", (f) => number(f.clip_seconds?.median, 1)],
    ["grounding, median", (f) => number(f.scores.grounding?.median, 2)],
    ["agreement, median", (f) => number(f.scores.agreement?.median, 2)],
    ["failures", (f) => number(f.failures?.total)],
  ];
  for (const [name, value] of tiles) {
    const values = files.map(value);
    if (values.every((text) => text === "–")) continue;
    const shown = values.map((text, at) => el("div", { class: `value ${isTwo ? SIDES[at] : ""}` }, isTwo ? `${"AB"[at]} ${text}` : text));
    byId("tiles").append(el("div", { class: "tile" }, el("div", { class: "name" }, name), ...shown));
  }
  for (const file of files) byId("numbers").append(el("pre", { tabindex: "0", "aria-label": file.name }, isTwo ? `${file.name}\n\n${file.text}` : file.text));
}

function drawPlots(summary, onPick) {
  for (const figure of summary.figures) {
    const drawn = figure.kind === "bars" ? drawBars(figure, onPick) : drawCurve(figure);
    const caption = el("figcaption", {}, `${figure.title} `, el("span", {}, figure.unit));
    byId("plots").append(el("figure", { class: "figure", id: `plot-${figure.name}` }, caption, drawn, drawTable(figure, summary)));
  }
  byId("plots-section").hidden = !summary.figures.length;
}

function drawBars(figure, onPick) {
  const most = Math.max(...figure.series.flat(), 1);
  const bars = el("div", { class: "bars" });
  figure.labels.forEach((label, at) => {
    const pickable = figure.column && !/^\d+ others$/.test(label);
    const name = pickable
      ? el("button", { type: "button", class: "name", title: `Show only ${label}`, onclick: () => onPick(figure.column, label) }, label)
      : el("span", { class: "name", title: label }, label);
    const track = el("div", { class: "track", "aria-hidden": "true" });
    figure.series.forEach((values, side) => {
      const bar = el("i", { class: SIDES[side] });
      bar.style.width = `${(values[at] / most) * 100}%`;
      track.append(bar);
    });
    bars.append(name, track, el("span", { class: "number" }, figure.series.map((values) => NUMBER.format(values[at])).join(" · ")));
  });
  return bars;
}

function drawCurve(figure) {
  const isLine = figure.kind === "line";
  const most = Math.max(...figure.series.flat(), 1e-9);
  const [low, high] = [figure.edges[0], figure.edges.at(-1)];
  const x = (value) => LEFT + ((value - low) / (high - low || 1)) * (WIDTH - LEFT - 6);
  const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - BOTTOM - 10);
  const name = `${figure.title}: ${figure.unit}; the table below has the numbers`;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name, class: figure.series.length > 1 ? "both" : "" });
  for (const level of ticks(0, most, 3)) {
    drawing.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - 6, y1: y(level), y2: y(level) }));
    drawing.append(svg("text", { x: LEFT - 6, y: y(level) + 4, "text-anchor": "end" }, short(level)));
  }
  figure.series.forEach((values, side) => {
    if (isLine) {
      const points = values.flatMap((value, at) => [`${x(figure.edges[at])},${y(value)}`, `${x(figure.edges[at + 1])},${y(value)}`]);
      drawing.append(svg("polyline", { class: `line-${SIDES[side]}`, points: points.join(" ") }));
      return;
    }
    values.forEach((value, at) => {
      const [from, to] = [x(figure.edges[at]), x(figure.edges[at + 1])];
      if (value) drawing.append(svg("rect", { class: `fill-${SIDES[side]}`, x: from + 0.5, width: Math.max(0.5, to - from - 1), y: y(value), height: HEIGHT - BOTTOM - y(value), rx: 1.5 }));
    });
  });
  const isWhole = figure.is_whole && figure.edges[1] - figure.edges[0] === 1; // one number a bar
  const marks = isLine ? [low, (low + high) / 2, high] : ticks(low, isWhole ? high - 1 : high, 5).filter((value) => !isWhole || Number.isInteger(value));
  for (const value of marks) {
    const anchor = x(value) > WIDTH - 50 ? "end" : x(value) < LEFT + 20 && isLine ? "start" : "middle";
    drawing.append(svg("text", { x: Math.min(x(value + (isWhole ? 0.5 : 0)), WIDTH - 4), y: HEIGHT - 4, "text-anchor": anchor }, isLine ? when(value, high - low) : short(value)));
  }
  return drawing;
}

function drawTable(figure, summary) {
  const isBars = figure.kind === "bars";
  const heads = summary.files.length > 1 ? summary.files.map((file, at) => "AB"[at]) : [figure.unit];
  const rows = figure.series[0].map((_, at) => {
    const from = isBars ? figure.labels[at] : figure.kind === "line" ? when(figure.edges[at], 0) : figure.is_whole ? wholes(figure.edges[at], figure.edges[at + 1] - 1) : `${short(figure.edges[at])} to ${short(figure.edges[at + 1])}`;
    return el("tr", {}, el("th", { scope: "row" }, from), ...figure.series.map((values) => el("td", {}, NUMBER.format(values[at]))));
  });
  const head = el("tr", {}, el("th", { scope: "col" }, ""), ...heads.map((text) => el("th", { scope: "col" }, text)));
  const table = el("table", {}, el("caption", { class: "skip" }, figure.title), el("thead", {}, head), el("tbody", {}, ...rows));
  return el("details", {}, el("summary", {}, "Numbers"), el("div", { tabindex: "0", role: "region", "aria-label": `Numbers: ${figure.title}` }, table));
}

const wholes = (first, last) => (first === last ? String(first) : `${first} to ${last}`);

function ticks(low, high, about) {
  const rough = (high - low || 1) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const made = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) made.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return made;
}

const short = (value) => (Math.abs(value) >= 10_000 ? value.toLocaleString("en", { notation: "compact" }) : String(+value.toPrecision(3)));

function when(seconds, span) {
  const text = new Date(seconds * 1000).toISOString();
  if (span === 0) return text.slice(0, 16).replace("T", " ");
  return span > 3 * 86400 ? text.slice(0, 10) : text.slice(5, 16).replace("T", " ");
}
