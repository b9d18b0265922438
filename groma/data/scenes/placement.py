"""Putting things into a picture so that each stays visible."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from groma.data.scenes.scene import Pixels
from groma.data.scenes.sprites import VISIBLE_ALPHA
