// Starts the page: the summary first, then the labels; and the keys.

const KEYS = [
  ["j k", "next, previous clip (also the arrows)"],
  ["n p", "next, previous label"],
  ["Space", "play or pause"],
  ["Enter", "larger, smaller, with all columns"],
  ["/", "search"],
  ["Esc", "leave the search; stop the video"],
  ["t", "dark or light"],
  ["?", "these keys"],
];
const REVIEW_KEYS = [
  ["a", "accept, go on"],
  ["e", "edit; Ctrl Enter saves"],
  ["r", "reject, go on"],
  ["u", "undo"],
];

async function start() {
  setUpTheme();
  const summary = await readBlock("summary");
  if (summary.review) REVIEW = summary.review;
  document.title = summary.review ? `Review: ${summary.title}` : summary.title;
  drawSummary(summary);
  let filters = null;
  drawPlots(summary, (column, value) => filters?.pick(column, value));
  await new Promise((shown) => requestAnimationFrame(() => setTimeout(shown))); // what is there is seen first
  performance.mark("summary-shown");
  const gallery = new Gallery(await readBlock("gallery"), await readBlock("reviews"));
  const cards = new Cards(gallery, null);
  const list = new List(gallery, cards, (filters = new Filters(gallery, () => list.filter())));
  filters.setUp(summary.worst);
  cards.sheets = await readBlock("sheets");
  byId("loading").hidden = true;
  list.filter();
  showProgress(gallery);
  setUpKeys(list);
  if (gallery.numClips < summary.num_clips) {
    const part = `${NUMBER.format(gallery.numClips)} of ${NUMBER.format(summary.num_clips)} clips are on this page, ${summary.worst ? "the worst" : "drawn at random"}; the numbers and plots are of all.`;
    byId("bar").before(el("p", { class: "quiet" }, part));
  }
  performance.mark("gallery-shown");
  filters.prepare();
  document.documentElement.dataset.ready = "yes";
  window.vidlabel = { list, filters, gallery };
}

function setUpTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const show = () => {
    const theme = chosen ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = theme === "dark" ? "☀ Light" : "☾ Dark";
  };
  dark.addEventListener("change", show);
  byId("theme").addEventListener("click", () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    show();
  });
  show();
}

function setUpKeys(list) {
  for (const [keys, what] of isReviewing() ? [...REVIEW_KEYS, ...KEYS] : KEYS) byId("key-list").append(el("dt", {}, el("kbd", {}, keys)), el("dd", {}, what));
  byId("help").addEventListener("click", () => byId("keys").showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
    if (event.target.closest?.("textarea, select, input")) {
      if (event.key === "Escape") list.go(list.place, list.at);
      return;
    }
    const act = actionOf(event, list);
    if (!act || (!byId("keys-on").checked && event.key.length === 1 && event.key !== " ")) return;
    event.preventDefault();
    act();
  });
}

function actionOf(event, list) {
  const isOnButton = event.target.closest?.("button, summary, a, video, [role=region]");
  if (isOnButton && ["Enter", " ", "ArrowDown", "ArrowUp"].includes(event.key)) return null;
  const isInList = Boolean(event.target.closest?.("#list"));
  const actions = {
    j: () => list.go(list.place + (isInList ? 1 : 0)),
    k: () => list.go(list.place - (isInList ? 1 : 0)),
    n: () => list.step(1),
    p: () => list.step(-1),
    ArrowDown: isInList ? () => list.go(list.place + 1) : null,
    ArrowUp: isInList ? () => list.go(list.place - 1) : null,
    " ": isInList ? () => list.play(list.place) : null,
    Enter: isInList ? () => list.enlarge(list.place) : null,
    "/": () => byId("search").focus(),
    Escape: () => list.stop(),
    t: () => byId("theme").click(),
    "?": () => byId("keys").showModal(),
  };
  if (isReviewing()) {
    actions.a = () => inLine(() => decideHere(list, "accept"));
    actions.e = () => inLine(() => decideHere(list, "edit"));
    actions.r = () => inLine(() => decideHere(list, "reject"));
    actions.u = () => inLine(() => undo(list));
  }
  return list.clips.length || ["/", "t", "?", "Escape"].includes(event.key) ? actions[event.key] : null;
}

start().catch((error) => {
  byId("loading").textContent = `This page cannot show its labels: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
});
