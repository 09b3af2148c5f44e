"""Knowledge distillation of RoBERTa and BERT encoders: `fairseq-train --user-dir fairseq_kd`.

Importing the package registers its tasks, models, criterions, optimizers and schedulers with fairseq.
"""

from . import criterions, models, optim, schedules, tasks  # noqa: F401
