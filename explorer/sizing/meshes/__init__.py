"""Devices in a mesh: what each holds, by the rules that training uses."""
