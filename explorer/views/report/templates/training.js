// What each device holds in training; several of them divide the state as FSDP does
class Training extends Memory {
  settings() {
    return ["precision", "optimizer", "remat", "devices", "context", "batch"];
  }

  lists() {
    const fixed = this.grid.fixed[this.at("precision")][this.at("optimizer")][this.at("devices")];
    const table = this.grid.precisions[this.at("precision")].tables[this.at("remat")];
    return [...fixed.slice(0, -1), ...this.grid.tables[table][this.at("context")][this.at("batch")], ...fixed.slice(-1)];
  }

  number() {
    return this.grid.devices[this.at("devices")];
  }

  each() {
    return this.number() > 1 ? `each of ${this.number()}` : "one";
  }

  describe(context, batch) {
    this.say("devices", this.number() > 1 ? `${this.number()} devices (FSDP): the figures are those of each` : "one device");
    this.say("context", `${grouped(context || 0)} tokens`);
    this.say("batch", `${batch} on each device, ${grouped(batch * this.number())} in all`);
  }

  words(context, batch, device) {
    const {precisions, optimizers, remats} = this.grid, number = this.number(), all = batch * number;
    const [optimizer, remat] = [optimizers[this.at("optimizer")], remats[this.at("remat")]];
    return ["--train", ...precisions[this.at("precision")].words, ...(this.at("optimizer") ? ["--optimizer", optimizer] : []),
      ...(this.at("remat") ? ["--remat", remat] : []), ...(context ? ["--context", context] : []), ...(all > 1 ? ["--batch", all] : []),
      ...(number > 1 ? ["--mesh", `fsdp=${number}`] : []), ...(device ? ["--device", number > 1 ? `${device.key}:${number}` : device.key] : [])];
  }
}

for (const section of document.querySelectorAll("section.map")) new Icicle(section, data.models[section.dataset.model]);
for (const section of document.querySelectorAll("section.memory")) {
  const {grid, training, target} = data.models[section.dataset.model];
  if (section.classList.contains("training")) new Training(section, training, target);
  else if (grid) new Memory(section, grid, target);
}
