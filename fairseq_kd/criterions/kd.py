"""`--criterion kd`: labels and the teacher's logits."""

from fairseq.criterions import register_criterion

from .config import DistillationConfig
from .distillation import DistillationCriterion


@register_criterion("kd", dataclass=DistillationConfig)
class KD(DistillationCriterion):
    """Logits distillation (Hinton et al., Distilling the Knowledge in a Neural Network, 2015).

    With `--hard-weight 1 --soft-weight 0` it is plain fine-tuning and needs no teacher.
    """

    own_terms = False
