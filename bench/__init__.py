"""Measurements on this machine, each beside a baseline of the same run. `python -m bench` lists them."""
