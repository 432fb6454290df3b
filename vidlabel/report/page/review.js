// Decisions: sent to the server, and shown when it has kept them.

let REVIEW = null; // {query, total}, where the page was served by `vidlabel review`
const isReviewing = () => REVIEW !== null;
const DECISIONS = [
  ["accept", "Accept", "a"],
  ["edit", "Edit", "e"],
  ["reject", "Reject", "r"],
];
const undoable = [];

function decisionBar(gallery, row) {
  const review = gallery.review(row);
  const bar = el("div", { class: "decide", role: "group", "aria-label": "Decision" });
  for (const [decision, title, key] of DECISIONS)
    bar.append(el("button", { type: "button", class: decision, "data-decision": decision, "aria-pressed": String(review?.[0] === decision), "aria-keyshortcuts": key }, title, el("kbd", {}, key)));
  return bar;
}

function decided(list, place, label, decision) {
  const index = Number(label.dataset.index);
  const row = Number(label.dataset.row);
  if (place !== list.place || index !== list.at) list.go(place, index);
  if (decision === "edit") openEditor(list, place, row);
  else if (list.gallery.review(row)?.[0] === decision) decide(list, place, row, null);
  else decide(list, place, row, [decision, null]);
}

// keys that come faster than the server answers wait for each other: each acts on the label that the one before led to
let line = Promise.resolve();
const inLine = (act) => (line = line.then(act, act));

// the key: decide about the label that is here, and go on to the next
async function decideHere(list, decision) {
  const row = hereRow(list);
  if (row < 0) return;
  if (decision === "edit") openEditor(list, list.place, row);
  else if (await decide(list, list.place, row, [decision, null])) list.step(1);
}

const hereRow = (list) => (list.clips.length ? list.cards.labelsOf(list.clips[list.place])[list.at][0] : -1);

async function decide(list, place, row, review, isUndo = false) {
  const { gallery } = list;
  const id = gallery.get("label_id", row);
  const before = gallery.reviews[id] ?? null;
  if (!(await send({ label_id: id, decision: review?.[0] ?? null, text: review?.[1] ?? null }))) return false;
  if (review) gallery.reviews[id] = review;
  else delete gallery.reviews[id];
  if (!isUndo) undoable.push({ row, before });
  list.refresh(place);
  showProgress(gallery);
  return true;
}

async function send(decision) {
  try {
    const answer = await fetch(`review${REVIEW.query}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(decision) });
    if (answer.ok) return true;
    say(`Not saved: ${(await answer.text()).slice(0, 300)}`);
  } catch {
    say("Not saved: the server does not answer. Is vidlabel review still running?");
  }
  return false;
}

async function undo(list) {
  const last = undoable.pop();
  if (!last) {
    say("Nothing to undo");
    return;
  }
  const clip = list.gallery.clip[last.row];
  const place = list.clips.indexOf(clip);
  if (place >= 0) list.go(place, list.cards.labelsOf(clip).findIndex((rows) => rows.includes(last.row)));
  if (!(await decide(list, place, last.row, last.before, true))) undoable.push(last);
}

function openEditor(list, place, row) {
  const { gallery } = list;
  const label = list.shown.get(place)?.querySelector(`.label[data-row="${row}"]`);
  if (!label || label.querySelector("textarea")) return;
  const old = gallery.review(row)?.[1] ?? gallery.get("text", row) ?? "";
  const area = el("textarea", { "aria-label": "The right text. Control and Enter saves, Escape leaves it as it was" });
  area.value = old;
  const close = () => {
    list.refresh(place);
    list.shown.get(place)?.focus({ preventScroll: true });
  };
  const save = async () => {
    const text = area.value.trim();
    if (!text) return say("An edited text cannot be empty; reject the label instead");
    if (await decide(list, place, row, ["edit", text])) {
      list.shown.get(list.place)?.focus({ preventScroll: true });
      list.step(1);
    }
  };
  area.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
  });
  const keys = el("div", { class: "decide" }, el("button", { type: "button", class: "save", onclick: save }, "Save", el("kbd", {}, "Ctrl Enter")), el("button", { type: "button", onclick: close }, "Leave", el("kbd", {}, "Esc")));
  label.querySelector(".decide")?.remove();
  label.append(el("div", { class: "editor" }, area, keys));
  area.focus();
  area.setSelectionRange(old.length, old.length);
  area.parentElement.scrollIntoView({ block: "nearest" });
}

function showProgress(gallery) {
  if (!isReviewing()) return;
  const counts = { accept: 0, edit: 0, reject: 0 };
  for (const [decision] of Object.values(gallery.reviews)) counts[decision] += 1;
  const total = counts.accept + counts.edit + counts.reject;
  byId("progress").hidden = false;
  byId("progress").textContent = `${NUMBER.format(total)} of ${NUMBER.format(REVIEW.total)} decided: ${counts.accept} accepted, ${counts.edit} edited, ${counts.reject} rejected`;
}
