"""Knowledge distillation of RoBERTa and BERT encoders: `fairseq-train --user-dir fairseq_kd`.

Importing the package registers its tasks, models, criterions and optimizers with fairseq.
"""

from . import criterions, models, optim, tasks  # noqa: F401
