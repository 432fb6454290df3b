// Elements are made here and nowhere else, and texts go in as text.

function el(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function svg(tag, options = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(options)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const byId = (id) => document.getElementById(id);
const NUMBER = new Intl.NumberFormat("en");
const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const percent = (part, whole) => (whole ? `${number((part / whole) * 100, 1)}%` : "–");

function clock(seconds) {
  const whole = Math.floor(seconds);
  const rest = (seconds - whole).toFixed(2).slice(1);
  const minutes = Math.floor(whole / 60);
  const two = (value) => String(value).padStart(2, "0");
  const hours = minutes >= 60 ? `${Math.floor(minutes / 60)}:${two(minutes % 60)}` : `${minutes}`;
  return `${hours}:${two(whole % 60)}${rest === ".00" ? "" : rest}`;
}

const MILD = new Set(["short", "prefix", "subtitles_shortened", "duplicate", "damaged"]);
const flagClass = (flag) => (flag === "clean" ? "good" : MILD.has(flag) ? "mild" : "bad");

// the text with the searched words marked
function marked(text, words) {
  const made = el("span");
  const small = text.toLowerCase();
  if (!words.length || small.length !== text.length) {
    made.append(text);
    return made;
  }
  let at = 0;
  while (at < text.length) {
    let next = -1;
    let length = 0;
    for (const word of words) {
      const found = small.indexOf(word, at);
      if (found >= 0 && (next < 0 || found < next || (found === next && word.length > length))) [next, length] = [found, word.length];
    }
    if (next < 0) break;
    made.append(text.slice(at, next), el("mark", {}, text.slice(next, next + length)));
    at = next + length;
  }
  made.append(text.slice(at));
  return made;
}

// both texts, with the words marked that the other has not, by their longest common row of words
function compared(one, other) {
  const split = (text) => text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|\s+|[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]+/gu) ?? [];
  const [a, b] = [split(one), split(other)];
  const plain = (text) => el("span", {}, text);
  if (a.length * b.length > 1_000_000) return [plain(one), plain(other)];
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
  const made = [el("span"), el("span")];
  const add = (side, word, isSame) => made[side].append(isSame || !word.trim() ? word : el("ins", {}, word));
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add(0, a[i], true);
      add(1, b[j], true);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      add(0, a[i], false);
      i += 1;
    } else {
      add(1, b[j], false);
      j += 1;
    }
  }
  return made;
}

let quiet = 0;
function say(text) {
  byId("say").textContent = text;
  clearTimeout(quiet);
  quiet = setTimeout(() => (byId("say").textContent = ""), 6000);
}
