"""Names of the released checkpoint's tensors in our model (the one place that knows them)."""

from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import Concatenate, WeightConverter, WeightRenaming

from groma.model.region_encoder import OFFICIAL_KEYS as REGION_ENCODER_KEYS

_DETECTOR = r"^(?:perceiver\.)?ddetr_transformer\."
# Upstream registers these heads twice; a checkpoint may hold either name, or both.
_TIED = _DETECTOR + r"(?:decoder\.)?"

RENAMES = {
    r"^(?:perceiver\.)?vis_encoder\.": "image_encoder.vit.",
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
    r"^llm\.model\.layers\.": "language_model.model.layers.",
    r"^llm\.model\.norm\.": "language_model.model.norm.",
}
"""Regular expressions on released names -> ours, applied in order."""


def register() -> None:
    """Let transformers' loader read the released layout into our model type.

    The vocabulary's two halves, old and new tokens, become one embedding and one head.
    """
    renames = RENAMES | dict(REGION_ENCODER_KEYS)
    register_checkpoint_conversion_mapping(
        "groma",
        [
            *(WeightRenaming(source, target) for source, target in renames.items()),
            WeightConverter(
                ["llm.model.embed_tokens.weight", "new_input_embs.weight"],
                "language_model.model.embed_tokens.weight",
                operations=[Concatenate(dim=0)],
            ),
            WeightConverter(
                ["llm.lm_head.weight", "extra_lm_head.weight"],
                "language_model.lm_head.weight",
                operations=[Concatenate(dim=0)],
            ),
        ],
        overwrite=True,
    )
