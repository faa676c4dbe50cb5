const TERM_COLOURS = ["#0072B2", "#56B4E9", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#F0E442", "#8C6D1F", "#999999"];

class Memory {
  constructor(section, grid, target) {
    [this.section, this.grid, this.target] = [section, grid, target];
    this.inputs = {};
    for (const name of this.settings()) {
      const input = section.querySelector(`.${name}`);
      if (!input) continue;
      input.value = grid.first[name] ?? 0;
      this.inputs[name] = input;
      input.addEventListener("input", () => this.draw());
    }
    this.device = section.querySelector(".device");
    this.device.addEventListener("change", () => this.draw());
    onWidth(section, () => this.draw());
  }

  settings() {
    return ["stored", ...this.axes(), "context", "batch"];
  }

  // of the mesh, in the order in which a plan is asked for them
  axes() {
    return ["data", "tensor", "expert"];
  }

  at(name) {
    return this.inputs[name] ? Number(this.inputs[name].value) : 0;
  }

  fixed(at) {
    return this.grid.stored[at("stored")].fixed[at("expert")][at("tensor")];
  }

  table(at) {
    return this.grid.stored[at("stored")].table;
  }

  // Terms of one device, where `at` says where each slider is
  lists(at) {
    const fixed = this.fixed(at), alone = this.axes().every((axis) => axis === "data" || !at(axis));
    const last = alone && at("data") ? this.grid.several : fixed.at(-1);
    const varying = this.grid.tables[this.table(at)][at("tensor")][at("context")][at("batch")];
    return [...fixed.slice(0, -1), ...varying, last].map((place) => this.grid.terms[place]);
  }

  terms() {
    const whole = this.lists((name) => (this.axes().includes(name) ? 0 : this.at(name)));
    return this.lists((name) => this.at(name)).map(([name, bytes, low, high, note], at) => (
      {name: this.grid.names[name], bytes, low, high, note: (low === high ? this.share(bytes, whole[at][1]) : "") + this.grid.notes[note]}));
  }

  // A note says what all devices hold
  share(bytes, whole) {
    return bytes === whole || !bytes ? "" : whole % bytes ? "a share of: " : `1/${whole / bytes} of: `;
  }

  size(axis) {
    return this.grid[axis][this.at(axis)];
  }

  number() {
    return this.axes().reduce((product, axis) => product * this.size(axis), 1);
  }

  mesh() {
    return this.axes().filter((axis) => this.size(axis) > 1).map((axis) => `${axis}=${this.size(axis)}`).join(",");
  }

  // Parts of a batch: each has as many sequences
  parts() {
    return this.size("data");
  }

  all(batch) {
    return batch * this.parts();
  }

  draw() {
    const terms = this.terms();
    const total = terms.reduce((sum, term) => sum + term.bytes, 0);
    const context = this.grid.contexts[this.at("context")], batch = this.grid.batches[this.at("batch")];
    this.describe();
    const number = this.number(), place = this.section.querySelector(".devices");
    place.textContent = number > 1 ? `${grouped(number)} devices (${this.mesh()}): the figures are those of each` : "one device";
    this.say("context", `${grouped(context || 0)} tokens`);
    this.say("batch", `${batch}${this.parts() > 1 ? ` for each part of ${this.axes().includes("fsdp") ? "data and fsdp" : "data"}, ${grouped(this.all(batch))} in all` : ""}`);
    const device = data.devices.find((each) => each.key === this.device.value);
    const verdict = this.section.querySelector(".verdict");
    verdict.replaceChildren();
    html("strong", verdict, size(total));
    const low = terms.reduce((sum, term) => sum + term.low, 0), high = terms.reduce((sum, term) => sum + term.high, 0);
    if (low < high) verdict.append(`(${size(low)} to ${size(high)}) `);
    if (device) {
      const fits = total <= device.memory;
      html("span", verdict, `${fits ? "✓ fits" : "✗ does not fit"} ${this.each()} ${device.key} (${device.printed})`, fits ? "fit" : "no");
    }
    this.rows(terms, total);
    this.stack(terms, total, device);
    this.fits(total);
    this.section.querySelector(".command").textContent = ["explorer plan", this.target, ...this.words(), ...this.options(context, batch, device)].join(" ");
  }

  describe() {
    const way = this.grid.stored[this.at("stored")];
    this.say("stored", `${way.label} (${way.bits} bits each)`);
    this.divided("tensor", "weights, cache and heads are divided");
    this.divided("data", "nothing is divided but sequences");
    this.divided("expert", "experts are divided");
  }

  divided(axis, what) {
    const size = this.size(axis);
    this.say(axis, size > 1 ? `${size}: ${what}` : "1");
  }

  words() {
    return this.grid.stored[this.at("stored")].words;
  }

  options(context, batch, device) {
    const number = this.number(), all = this.all(batch);
    return [...(context ? ["--context", context] : []), ...(all > 1 ? ["--batch", all] : []), ...(number > 1 ? ["--mesh", this.mesh()] : []),
      ...(device ? ["--device", number > 1 ? `${device.key}:${number}` : device.key] : [])];
  }

  each() {
    return this.number() > 1 ? `each of ${grouped(this.number())}` : "one";
  }

  say(name, text) {
    const input = this.inputs[name];
    if (!input) return;
    input.parentElement.querySelector("output").textContent = text;
    input.setAttribute("aria-valuetext", text);
  }

  rows(terms, total) {
    const body = this.section.querySelector(".terms tbody");
    body.replaceChildren();
    const rows = [...terms.map((term, at) => ({...term, colour: TERM_COLOURS[at % TERM_COLOURS.length]})), {name: "total", bytes: total, low: 0, high: 0, note: ""}];
    for (const term of rows) {
      const row = html("tr", body), head = html("th", row);
      head.scope = "row";
      if (term.colour) make("rect", {width: 11, height: 11, fill: term.colour}, make("svg", {class: "key", "aria-hidden": "true"}, head));
      head.append(term.name);
      html("td", row, size(term.bytes), "n");
      html("td", row, grouped(term.bytes), "n");
      html("td", row, term.name === "total" ? "" : term.low === term.high ? "exact" : `${size(term.low)} to ${size(term.high)}`);
      html("td", row, term.note, "t");
    }
  }

  stack(terms, total, device) {
    const svg = this.section.querySelector(".stack"), width = Math.max(svg.clientWidth, 280);
    const most = Math.max(total, device ? device.memory : 0) * 1.02 || 1;
    svg.replaceChildren();
    svg.classList.toggle("marked", Boolean(device));
    svg.setAttribute("viewBox", `0 0 ${width} ${device ? 54 : 36}`);
    let x = 0;
    terms.forEach((term, at) => {
      const part = (width * term.bytes) / most;
      make("title", {}, make("rect", {x, y: 6, width: part, height: 26, fill: TERM_COLOURS[at % TERM_COLOURS.length]}, svg), `${term.name}: ${size(term.bytes)}`);
      x += part;
    });
    if (!device) return;
    const edge = (width * device.memory) / most;
    make("line", {x1: edge, x2: edge, y1: 0, y2: 38, stroke: "var(--ink)", "stroke-width": 2}, svg);
    make("text", {x: edge - 4, y: 51, "text-anchor": edge > 160 ? "end" : "start"}, svg, `${device.key} offers ${size(device.memory)}`);
  }

  fits(total) {
    const place = this.section.querySelector(".fits");
    const several = this.number() > 1;
    place.replaceChildren();
    const devices = data.devices.filter((each) => each.common && (each.in_meshes || !several));
    const fitting = devices.filter((each) => total <= each.memory), others = devices.filter((each) => total > each.memory);
    const number = several ? grouped(this.number()) : "one";
    const suffice = several ? "suffice" : "suffices";
    place.append(fitting.length ? `${number} of these ${suffice}: ` : several ? `${number} of any of these do not suffice: ` : "none of these suffices: ");
    for (const device of fitting) html("span", place, `✓ ${device.key}`, "fit");
    if (fitting.length && others.length) place.append("too large for: ");
    for (const device of others) html("span", place, `✗ ${device.key}`, "no");
  }
}
