"""The stages of the embedded model, read from their files."""

from groma.train.configuration import read_configuration

DETECTION, SYMBOLIC, ALIGNMENT, READING, INSTRUCTION = (
    read_configuration(f"groma-mini/{name}", name).stage
    for name in ("detection", "symbolic", "alignment", "reading", "instruction")
)
