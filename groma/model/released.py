"""Names of the released checkpoint's tensors in our model (the one place that knows them)."""

from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import Concatenate, WeightConverter, WeightRenaming

from groma.config import GromaConfig

_DETECTOR = r"^(?:perceiver\.)?ddetr_transformer\."
# Upstream registers these heads twice; a checkpoint may hold either name, or both.
_TIED = _DETECTOR + r"(?:decoder\.)?"
_FUSION = r"^region_encoder\.mlvl_fuse\."

RENAMES = {
    r"^(?:perceiver\.)?vis_encoder\.": "image_encoder.vit.",
    # transformers 5 calls the parts of DINOv2's attention otherwise than 4.32 did.
    r"attention\.attention\.query\.": "attention.q_proj.",
    r"attention\.attention\.key\.": "attention.k_proj.",
    r"attention\.attention\.value\.": "attention.v_proj.",
    r"attention\.output\.dense\.": "attention.o_proj.",
    r"^(?:perceiver\.)?input_proj\.": "region_proposer.feature_pyramid.",
    _DETECTOR + r"level_embed$": "region_proposer.level_embedding",
    _DETECTOR + r"encoder\.layers\.": "region_proposer.encoder.",
    _DETECTOR + r"decoder\.layers\.": "region_proposer.decoder.",
    _DETECTOR + r"query_position_embeddings\.": "region_proposer.query_content.",
    _DETECTOR + r"enc_output\.": "region_proposer.location_output.",
    _DETECTOR + r"enc_output_norm\.": "region_proposer.location_norm.",
    _DETECTOR + r"pos_trans\.": "region_proposer.query_position.",
    _DETECTOR + r"pos_trans_norm\.": "region_proposer.query_position_norm.",
    _TIED + r"class_embed_enc\.": "region_proposer.location_objectness.",
    _TIED + r"class_embed_coco\.": "region_proposer.objectness_coco.",
    _TIED + r"class_embed_sa1b\.": "region_proposer.objectness_sa1b.",
    _TIED + r"bbox_embed\.": "region_proposer.box_heads.",
    r"^img_txt_bridge\.": "projector.",
    _FUSION + r"input_conv\.": "region_encoder.fusion.input_convs.",
    _FUSION + r"fuse_convs\.(\d+)\.conv\.": r"region_encoder.fusion.rounds.\1.conv.",
    _FUSION + r"fuse_convs\.(\d+)\.gn\.": r"region_encoder.fusion.rounds.\1.norm.",
    r"^region_encoder\.roi_align\.pconvs\.": "region_encoder.level_convs.",
    r"^region_encoder\.roi_align\.pos_embedd\.": "region_encoder.box_embedding.",
    r"^region_encoder\.roi_align\.flatten_linear\.": "region_encoder.flatten.",
    r"^region_encoder\.roi_align\.updims\.": "region_encoder.projection.",
    r"^llm\.model\.layers\.": "language_model.model.layers.",
    r"^llm\.model\.norm\.": "language_model.model.norm.",
}
"""Regular expressions on released names -> ours, applied in order."""


# Upstream keeps the 114 new tokens in two tables of their own.
_JOINED = {
    "language_model.model.embed_tokens.weight": [
        "llm.model.embed_tokens.weight",
        "new_input_embs.weight",
    ],
    "language_model.lm_head.weight": ["llm.lm_head.weight", "extra_lm_head.weight"],
}


def register_layout() -> None:
    """Let transformers' loader read the released layout into our model type."""
    renamed = [WeightRenaming(source, target) for source, target in RENAMES.items()]
    joined = [
        WeightConverter(halves, whole, operations=[Concatenate(dim=0)])
        for whole, halves in _JOINED.items()
    ]
    mapping = [*renamed, *joined]
    register_checkpoint_conversion_mapping(GromaConfig.model_type, mapping, overwrite=True)
