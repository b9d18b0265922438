from tests.groma.train.conftest import (  # noqa: F401
    plain_machine,
    scenes,
    small_config,
    tiny_config,
    tiny_model,
    words,
)
