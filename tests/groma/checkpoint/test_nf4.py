import torch

from groma.checkpoint.nf4 import _scale_blocks, _unpack_codes


def test_the_high_half_of_a_byte_comes_first() -> None:
    table = torch.arange(16) / 10
    packed = torch.tensor([[0x12], [0xF0]], dtype=torch.uint8)
    assert _unpack_codes(packed, table).tolist() == (torch.tensor([1, 2, 15, 0]) / 10).tolist()


def test_blocks_have_their_own_scales_and_the_last_may_be_short() -> None:
    scaled = _scale_blocks(torch.ones(5), torch.tensor([2.0, 3.0, 4.0]), block=2)
    assert scaled.tolist() == [2, 2, 3, 3, 4]
