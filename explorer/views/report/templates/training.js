// What each device holds in training
class Training extends Memory {
  settings() {
    return ["precision", "optimizer", "remat", ...this.axes(), "context", "batch"];
  }

  axes() {
    return ["data", "fsdp", "tensor"];
  }

  fixed(at) {
    return this.grid.fixed[at("precision")][at("optimizer")][at("fsdp")][at("tensor")];
  }

  table(at) {
    return this.grid.precisions[at("precision")].tables[at("remat")];
  }

  parts() {
    return this.size("fsdp") * this.size("data");
  }

  describe() {
    this.divided("fsdp", "the state is divided");
    this.divided("tensor", "state and activations are divided");
    this.divided("data", "nothing is divided but batches");
  }

  words() {
    const {precisions, optimizers, remats} = this.grid;
    return ["--train", ...precisions[this.at("precision")].words, ...(this.at("optimizer") ? ["--optimizer", optimizers[this.at("optimizer")]] : []),
      ...(this.at("remat") ? ["--remat", remats[this.at("remat")]] : [])];
  }
}

for (const section of document.querySelectorAll("section.map")) new Icicle(section, data.models[section.dataset.model]);
for (const section of document.querySelectorAll("section.memory")) {
  const {grid, training, target} = data.models[section.dataset.model];
  if (section.classList.contains("training")) new Training(section, training, target);
  else if (grid) new Memory(section, grid, target);
}
