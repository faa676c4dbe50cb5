"""The words of the field made exact on a real model: topics in plain text, numbers computed."""
