"""GGUF files as models: their metadata as a config, their tensor names, their layouts."""
