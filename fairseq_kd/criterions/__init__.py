"""One file a method; importing registers them all under their `--criterion` names."""

from . import (  # noqa: F401
    alp_kd,
    att_kl_hidden_mse,
    att_kl_learn,
    att_mse_hidden_mse,
    att_mse_learn,
    crd,
    hidden_mse_learn,
    hidden_mse_token,
    hsk,
    kd,
    lad,
    minilm,
    minilm_v2,
    pearson,
    pkd,
    sda,
)
