"""The visual parts of a model: the paper's, or a convolutional detector in their place."""

from typing import Any

from groma.config import GromaConfig
from groma.model.coded_regions import CodedRegionEncoder
from groma.model.convolutional_encoder import ConvolutionalEncoder, DenseProposer, NoImageTokens
from groma.model.image_encoder import ImageEncoder
from groma.model.region_encoder import RegionEncoder
from groma.model.region_proposer import RegionProposer
from groma.model.token_merge import Projector


def visual_parts(config: GromaConfig) -> tuple[Any, Any, Any, Any]:
    """Image encoder, region proposer, projector and region encoder, as the configuration says."""
    if config.is_convolutional:
        return (
            ConvolutionalEncoder(config),
            DenseProposer(),
            NoImageTokens(config),
            CodedRegionEncoder(config),
        )
    return ImageEncoder(config), RegionProposer(config), Projector(config), RegionEncoder(config)
