"""Names under which a server is reached, as its owner writes them."""

import argparse
import re


def host_names(said: str) -> tuple[str, ...]:
    """Names with commas between them, as an option or a variable of the environment has them."""
    names = tuple(name.strip().lower() for name in said.split(",") if name.strip())
    if not all(re.fullmatch(r"(\*\.)?[\w.-]+", name) for name in names):
        raise argparse.ArgumentTypeError(f"must be names of hosts with commas, not {said}")
    return names
