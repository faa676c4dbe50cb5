// What each device holds in training, on a mesh of three axes
class Training extends Memory {
  settings() {
    return ["precision", "optimizer", "remat", "fsdp", "tensor", "data", "context", "batch"];
  }

  lists() {
    const fixed = this.grid.fixed[this.at("precision")][this.at("optimizer")][this.at("fsdp")][this.at("tensor")];
    const table = this.grid.precisions[this.at("precision")].tables[this.at("remat")];
    const last = this.at("data") && !this.at("fsdp") && !this.at("tensor") ? [this.grid.several] : fixed.slice(-1);
    const places = [...fixed.slice(0, -1), ...this.grid.tables[table][this.at("tensor")][this.at("context")][this.at("batch")], ...last];
    return places.map((place) => this.grid.terms[place]);
  }

  size(axis) {
    return this.grid[axis][this.at(axis)];
  }

  number() {
    return this.size("fsdp") * this.size("tensor") * this.size("data");
  }

  mesh() {
    return ["data", "fsdp", "tensor"].filter((axis) => this.size(axis) > 1).map((axis) => `${axis}=${this.size(axis)}`).join(",");
  }

  all(batch) {
    return batch * this.size("fsdp") * this.size("data");
  }

  describe(context, batch) {
    this.say("fsdp", `${this.size("fsdp")}: the state is divided`);
    this.say("tensor", `${this.size("tensor")}: state and activations are divided`);
    this.say("data", `${this.size("data")}: nothing is divided but batches`);
    this.section.querySelector(".devices").textContent = this.number() > 1
      ? `${grouped(this.number())} devices (${this.mesh()}): the figures are those of each` : "one device";
    this.say("context", `${grouped(context || 0)} tokens`);
    this.say("batch", `${batch}${this.size("fsdp") * this.size("data") > 1 ? ` for each part of data and fsdp, ${grouped(this.all(batch))} in all` : ""}`);
  }

  words(context, batch, device) {
    const {precisions, optimizers, remats} = this.grid, number = this.number(), all = this.all(batch);
    const [optimizer, remat] = [optimizers[this.at("optimizer")], remats[this.at("remat")]];
    return ["--train", ...precisions[this.at("precision")].words, ...(this.at("optimizer") ? ["--optimizer", optimizer] : []),
      ...(this.at("remat") ? ["--remat", remat] : []), ...(context ? ["--context", context] : []), ...(all > 1 ? ["--batch", all] : []),
      ...(number > 1 ? ["--mesh", this.mesh()] : []), ...(device ? ["--device", number > 1 ? `${device.key}:${number}` : device.key] : [])];
  }
}

for (const section of document.querySelectorAll("section.map")) new Icicle(section, data.models[section.dataset.model]);
for (const section of document.querySelectorAll("section.memory")) {
  const {grid, training, target} = data.models[section.dataset.model];
  if (section.classList.contains("training")) new Training(section, training, target);
  else if (grid) new Memory(section, grid, target);
}
