"use strict";
const SVG = "http://www.w3.org/2000/svg";
const data = JSON.parse(document.getElementById("data").textContent);
// Okabe and Ito's colours, which people distinguish with any colour vision
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C6D1F"];
const FIXED = {...data.colours, kernel: "#009E73", scale: "#CC79A7", bias: "#D55E00", bfloat16: "#0072B2",
  float32: "#56B4E9", float16: "#009E73"};
const NAME = 0, PARENT = 1, PARAMETERS = 2, BYTES = 3, TENSORS = 4, SHAPE = 8;
const WORDS = {component: 5, role: 6, dtype: 7};

function make(tag, attributes, parent, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function html(tag, parent, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  if (parent) parent.append(element);
  return element;
}

// calls at once, and when the width changes: a redrawn map would lose the focus for nothing
function onWidth(section, draw) {
  let width = 0;
  const observed = () => { if (section.clientWidth !== width) { width = section.clientWidth; draw(); } };
  new ResizeObserver(observed).observe(section);
  observed();
}

const grouped = (number) => number.toLocaleString("en-US");

function size(bytes) {
  for (const [unit, scale] of [["PB", 1e15], ["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= scale) {
      const number = bytes / scale;
      // Python rounds an exact half to the even digit: 0.25 is 0.2
      const text = number % 1 === 0.25 ? `${Math.floor(number)}.2` : number.toFixed(1);
      return `${text} ${unit}`;
    }
  }
  return `${bytes} B`;
}

function share(part, whole) {
  if (!part || !whole) return "0%";
  if (part === whole) return "100%";
  const number = (100 * part) / whole;
  return number < 0.05 ? "<0.1%" : number >= 99.95 ? ">99.9%" : `${number.toFixed(1)}%`;
}

function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
  return 0.2126 * r ** 2.2 + 0.7152 * g ** 2.2 + 0.0722 * b ** 2.2 > 0.2 ? "#000" : "#fff";
}

class Icicle {
  constructor(section, model) {
    this.section = section;
    this.words = model.map.words;
    this.nodes = model.map.nodes;
    this.children = this.nodes.map(() => []);
    this.nodes.forEach((node, at) => node[PARENT] >= 0 && this.children[node[PARENT]].push(at));
    this.svg = section.querySelector(".icicle");
    [this.root, this.at, this.colour, this.size, this.query] = [0, 0, "component", PARAMETERS, ""];
    if (!this.nodes[0][PARAMETERS]) this.size = BYTES;
    this.listen();
    onWidth(section, () => this.draw());
  }

  listen() {
    const pick = (name) => this.section.querySelector(name);
    pick(".colour").addEventListener("change", (event) => { this.colour = event.target.value; this.draw(); });
    pick("select.size").value = this.size === BYTES ? "bytes" : "parameters";
    pick("select.size").addEventListener("change", (event) => {
      this.size = event.target.value === "bytes" ? BYTES : PARAMETERS;
      this.draw();
    });
    const search = pick("input");
    search.addEventListener("input", () => { this.query = search.value.trim().toLowerCase(); this.draw(); filterTree(this.section, this.query); });
    search.addEventListener("keydown", (event) => {
      const first = this.hits && [...this.hits][0];
      if (event.key === "Enter" && first !== undefined) this.zoom(this.children[first].length ? first : this.nodes[first][PARENT], first);
    });
    this.svg.addEventListener("click", (event) => {
      const at = this.place(event);
      if (at < 0) return;
      if (at === this.root || !this.children[at].length) this.zoom(this.nodes[at][PARENT], at);
      else this.zoom(at, at);
    });
    this.svg.addEventListener("mousemove", (event) => this.describe(Math.max(this.place(event), -1)));
    this.svg.addEventListener("mouseleave", () => this.describe(this.at));
    this.svg.addEventListener("focusin", (event) => { const at = this.place(event); if (at >= 0) { this.at = at; this.describe(at); this.ring(); } });
    this.svg.addEventListener("focusout", () => this.ringElement && this.ringElement.remove());
    this.svg.addEventListener("keydown", (event) => this.press(event));
  }

  place(event) {
    const group = event.target.closest("g");
    return group ? Number(group.dataset.at) : -1;
  }

  press(event) {
    const node = this.nodes[this.at], siblings = node[PARENT] >= 0 ? this.children[node[PARENT]] : [0];
    const place = siblings.indexOf(this.at), below = this.children[this.at];
    const go = {ArrowRight: below[0], ArrowLeft: this.at === this.root ? undefined : node[PARENT],
      ArrowDown: this.at === this.root ? undefined : siblings[place + 1],
      ArrowUp: this.at === this.root ? undefined : siblings[place - 1], Home: this.root}[event.key];
    if (go >= 0) {
      event.preventDefault();
      if (this.drawn.has(go)) this.focus(go); else this.zoom(this.at, go);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (below.length) this.zoom(this.at, this.at);
    } else if (event.key === "Backspace" || event.key === "Escape") {
      event.preventDefault();
      if (this.root) this.zoom(this.nodes[this.root][PARENT], this.root);
    }
  }

  zoom(root, at) {
    this.root = Math.max(root, 0);
    this.at = at;
    this.draw();
    this.focus(this.drawn.has(at) ? at : this.root);
  }

  focus(at) {
    this.drawn.get(at).focus({preventScroll: true});
  }

  path(at) {
    const names = [];
    for (let node = at; node > 0; node = this.nodes[node][PARENT]) names.unshift(this.nodes[node][NAME]);
    return names.join("/") || this.nodes[0][NAME];
  }

  word(at) {
    return this.words[this.nodes[at][WORDS[this.colour]]];
  }

  colourOf(word) {
    if (word === "mixed") return null;
    if (FIXED[word]) return FIXED[word];
    const others = this.words.filter((each) => each !== "mixed" && !FIXED[each]);
    return COLOURS[(others.indexOf(word) + 7) % COLOURS.length];
  }

  search() {
    this.hits = null;
    const found = this.section.querySelector(".found");
    found.textContent = "";
    if (!this.query) return;
    const terms = this.query.split(/[\s,]+/).filter(Boolean).map(matcher);
    this.hits = new Set();
    const tops = [];
    this.nodes.forEach((node, at) => {
      const above = node[PARENT] >= 0 && this.hits.has(node[PARENT]);
      if (above || (at && terms.some((test) => test(this.path(at).toLowerCase())))) {
        this.hits.add(at);
        if (!above) tops.push(at);
      }
    });
    const sum = tops.reduce((total, at) => total + this.nodes[at][PARAMETERS], 0);
    found.textContent = tops.length ? `${grouped(tops.length)} ${tops.length > 1 ? "parts match" : "part matches"}: ${grouped(sum)} parameters (${share(sum, this.nodes[0][PARAMETERS])})` : "nothing matches";
  }

  draw() {
    const width = Math.max(this.svg.clientWidth || this.section.clientWidth, 280), height = width < 600 ? 360 : 400;
    const focused = this.svg.contains(document.activeElement);
    this.search();
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.drawn = new Map();
    this.boxes = new Map();
    this.levels = Math.min(this.depth(this.root), Math.max(width < 600 ? 4 : 3, Math.floor(width / 160)));
    this.first = this.levels > 1 ? Math.min(96, width / 6) : width;  // the root is narrow
    this.layer(this.root, 0, 0, height, (width - this.first) / Math.max(this.levels - 1, 1));
    this.trail();
    this.legend();
    if (!this.drawn.has(this.at)) this.at = this.root;
    this.drawn.get(this.at).setAttribute("tabindex", "0");
    if (focused) this.focus(this.at);
    this.describe(this.at);
  }

  depth(at) {
    return 1 + this.children[at].reduce((most, child) => Math.max(most, this.depth(child)), 0);
  }

  layer(at, level, y, height, width) {
    const last = level === this.levels - 1, below = this.children[at];
    const x = this.first + (level - 1) * width, rest = this.first + (this.levels - 1) * width - x;
    if (level) this.part(at, x, y, below.length ? width : rest, height, level);  // a tensor fills its row
    else this.part(at, 0, y, this.first, height, level);
    if (last || !below.length) return;
    const total = below.reduce((sum, child) => sum + this.nodes[child][this.size], 0);
    let top = y;
    for (const child of below) {
      const part = total ? (height * this.nodes[child][this.size]) / total : 0;
      this.layer(child, level + 1, top, part, width);
      top += part;
    }
  }

  part(at, x, y, width, height, level) {
    const node = this.nodes[at], word = this.word(at), colour = this.colourOf(word), below = this.children[at];
    const siblings = node[PARENT] >= 0 ? this.children[node[PARENT]] : [at];
    const group = make("g", {role: "treeitem", tabindex: "-1", "aria-level": level + 1, "aria-setsize": siblings.length,
      "aria-posinset": siblings.indexOf(at) + 1, "aria-label": this.sentence(at), "data-at": at}, this.svg);
    if (below.length) group.setAttribute("aria-expanded", String(level < this.levels - 1));
    else group.classList.add("leaf");
    if (this.hits && !this.hits.has(at)) group.classList.add("dim");
    make("rect", {x, y, width, height: Math.max(height, 0), fill: colour || "var(--mixed)"}, group);
    this.drawn.set(at, group);
    this.boxes.set(at, [x, y, width, Math.max(height, 3)]);
    if (height < 15) return;
    const ink = colour ? inkOn(colour) : "var(--ink)", room = Math.floor((width - 12) / 7.3);
    const name = clipped(node[NAME], room), middle = y + height / 2, two = height >= 34;
    make("text", {x: x + 7, y: middle + (two ? -2 : 4.5), fill: ink}, group, name);
    const more = `${share(node[this.size], this.nodes[0][this.size])} · ${this.size === BYTES ? size(node[BYTES]) : short(node[PARAMETERS])}`;
    if (two) make("text", {x: x + 7, y: middle + 14, fill: ink, class: "minor"}, group, clipped(more, room + 1));
  }

  sentence(at) {
    const node = this.nodes[at], words = Object.values(WORDS).map((column) => this.words[node[column]]).filter((word) => word !== "mixed");
    const tensors = `${grouped(node[TENSORS])} ${node[TENSORS] === 1 ? "tensor" : "tensors"}`;
    return `${this.path(at)}: ${grouped(node[PARAMETERS])} parameters (${share(node[PARAMETERS], this.nodes[0][PARAMETERS])}); ${tensors}, ${size(node[BYTES])}${node[SHAPE] ? `, each ${node[SHAPE]}` : ""}${words.length ? `; ${[...new Set(words)].join(", ")}` : ""}`;
  }

  describe(at) {
    if (at >= 0) this.section.querySelector(".detail").textContent = this.sentence(at);
  }

  ring() {
    if (this.ringElement) this.ringElement.remove();
    const [x, y, width, height] = this.boxes.get(this.at);
    this.ringElement = make("rect", {x: x + 1, y: y + 1, width: width - 2, height: Math.max(height - 2, 2), class: "ring"}, this.svg);
  }

  trail() {
    const trail = this.section.querySelector(".trail"), steps = [];
    for (let at = this.root; at >= 0; at = this.nodes[at][PARENT]) steps.unshift(at);
    trail.replaceChildren();
    if (!this.root) return;
    for (const at of steps) {
      if (at === this.root) { html("span", trail, this.nodes[at][NAME]); continue; }
      html("button", trail, this.nodes[at][NAME]).addEventListener("click", () => this.zoom(at, at));
      html("span", trail, "/");
    }
  }

  legend() {
    const sums = new Map(), legend = this.section.querySelector(".legend"), root = this.nodes[this.root][this.size];
    const add = (at) => {
      if (this.children[at].length) return this.children[at].forEach(add);
      const word = this.word(at);
      return sums.set(word, (sums.get(word) || 0) + this.nodes[at][this.size]);
    };
    add(this.root);
    legend.replaceChildren();
    for (const [word, sum] of [...sums].sort((a, b) => b[1] - a[1]).slice(0, 12)) {
      const item = html("span", legend);
      make("rect", {width: 12, height: 12, fill: this.colourOf(word) || "var(--mixed)"}, make("svg", {"aria-hidden": "true"}, item));
      item.append(`${word} ${share(sum, root)}`);
    }
  }
}

const clipped = (text, room) => (text.length <= room ? text : room < 4 ? "" : `${text.slice(0, room - 1)}…`);

function short(number) {
  for (const [unit, scale] of [["T", 1e12], ["B", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (number >= scale) return `${(number / scale).toFixed(number >= 100 * scale ? 0 : 1)}${unit}`;
  }
  return String(number);
}

function matcher(term) {
  // a key's dots are a path's slashes
  const plain = (text) => text.replaceAll(".", "/"), sought = plain(term);
  if (!term.includes("*")) return (path) => plain(path).includes(sought);
  const pattern = new RegExp(sought.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*"));
  return (path) => pattern.test(plain(path));
}

function filterTree(section, query) {
  const terms = query.split(/[\s,]+/).filter(Boolean).map(matcher), path = [], shown = [];
  const rows = [...section.parentElement.querySelectorAll(".tree tbody tr")];
  rows.forEach((row) => {
    const head = row.firstElementChild, level = Number((head.className.match(/\bl(\d+)\b/) || [0, 0])[1]);
    path.length = level;
    path.push(head.textContent);
    const hit = !terms.length || terms.some((test) => test(path.join("/").toLowerCase()));
    shown.push({row, level, hit});
  });
  shown.forEach((each, at) => {  // with what is above it
    for (let level = each.level, before = at - 1; each.hit && before >= 0 && level > 0; before--) {
      if (shown[before].level < level) { shown[before].hit = true; level = shown[before].level; }
    }
  });
  shown.forEach((each) => { each.row.hidden = !each.hit; });
}
