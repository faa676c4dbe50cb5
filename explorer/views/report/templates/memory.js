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
    return ["stored", "context", "batch"];
  }

  at(name) {
    return this.inputs[name] ? Number(this.inputs[name].value) : 0;
  }

  lists() {
    const way = this.grid.stored[this.at("stored")];
    return [...way.before, ...this.grid.tables[way.table][this.at("context")][this.at("batch")], ...way.after];
  }

  terms() {
    return this.lists().map(([name, bytes, low, high, note]) => ({name: this.grid.names[name], bytes, low, high, note: this.grid.notes[note]}));
  }

  draw() {
    const terms = this.terms();
    const total = terms.reduce((sum, term) => sum + term.bytes, 0);
    const context = this.grid.contexts[this.at("context")], batch = this.grid.batches[this.at("batch")];
    this.describe(context, batch);
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
    this.table(terms, total);
    this.stack(terms, total, device);
    this.fits(total);
    this.section.querySelector(".command").textContent = ["explorer plan", this.target, ...this.words(context, batch, device)].join(" ");
  }

  describe(context, batch) {
    const way = this.grid.stored[this.at("stored")];
    this.say("stored", `${way.label} (${way.bits} bits each)`);
    this.say("context", `${grouped(context || 0)} tokens`);
    this.say("batch", String(batch));
  }

  words(context, batch, device) {
    const way = this.grid.stored[this.at("stored")];
    return [...way.words, ...(context ? ["--context", context] : []), ...(batch > 1 ? ["--batch", batch] : []), ...(device ? ["--device", device.key] : [])];
  }

  number() {
    return 1;
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

  table(terms, total) {
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
    place.replaceChildren(several ? `${grouped(this.number())} of these suffice: ` : "one of these suffices: ");
    for (const device of data.devices.filter((each) => each.common && (each.in_meshes || !several))) {
      const fits = total <= device.memory;
      html("span", place, `${fits ? "✓" : "✗"} ${device.key}`, fits ? "fit" : "no");
    }
  }
}
