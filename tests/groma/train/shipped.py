"""The stages of the embedded model, read from their files."""

from groma.train.configuration import find, read_configuration
from recipes.scenes.scene_configuration import FOLDER, SceneConfiguration

DETECTION, SYMBOLIC, ALIGNMENT, READING, INSTRUCTION = (
    read_configuration(find(f"groma-mini/{name}", FOLDER), name, SceneConfiguration).stage
    for name in ("detection", "symbolic", "alignment", "reading", "instruction")
)
