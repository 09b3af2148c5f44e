"""Losses on logits, against the teacher's logits or the label."""

import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32


def kd(s: Tensor, t: Tensor, temperature: float) -> Tensor:
    """Return the knowledge distillation loss: the KL divergence of softened class probabilities.

        L_b = T^2 KL( softmax(t_b / T) || softmax(s_b / T) ), summed over classes

    T^2 keeps the size of the gradient independent of the temperature T.

    s, t  [B, C]  logits
    Returns [B].

    Paper: Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
    """
    dtype = at_least_float32(s, t)
    log_p_s = F.log_softmax(s.to(dtype) / temperature, dim=-1)
    log_p_t = F.log_softmax(t.to(dtype) / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_p_s, log_p_t, reduction="none", log_target=True).sum(dim=-1)


def soft_cross_entropy(s: Tensor, t: Tensor, temperature: float) -> Tensor:
    """Return the cross entropy with the teacher's softened probabilities as target, without the factor T^2.

        L_b = - sum over classes c of softmax(t_b / T)_c log_softmax(s_b / T)_c

    s, t  [B, C]  logits
    Returns [B].

    Paper: Jiao et al., TinyBERT, Findings of EMNLP 2020.
    Differs from their code: it also averages over classes.
    """
    dtype = at_least_float32(s, t)
    log_p_s = F.log_softmax(s.to(dtype) / temperature, dim=-1)
    p_t = F.softmax(t.to(dtype) / temperature, dim=-1)
    return -(p_t * log_p_s).sum(dim=-1)


def logits_mse(s: Tensor, t: Tensor) -> Tensor:
    """Return the mean squared difference of the logits.

        L_b = 1/C sum over classes c of (s_bc - t_bc)^2

    s, t  [B, C]  logits; C = 1 is the distillation loss of a regression task
    Returns [B].

    Paper: Ba and Caruana, Do Deep Nets Really Need to be Deep?, NeurIPS 2014.
    """
    return (s.to(at_least_float32(s, t)) - t).square().mean(dim=-1)


def cross_entropy(s: Tensor, label: Tensor) -> Tensor:
    """Return the cross entropy with the label.

        L_b = - log_softmax(s_b)[label_b], 0 for the label -100

    s      [B, C]  logits
    label  [B]     class numbers
    Returns [B].
    """
    return F.cross_entropy(s.to(at_least_float32(s)), label, reduction="none")


def squared_error(s: Tensor, target: Tensor) -> Tensor:
    """Return the squared difference from a regression target.

        L_b = (s_b - target_b)^2

    s, target  [B] or [B, 1] each; a mixture is not broadcast to [B, B]
    Returns [B].
    """
    s, target = s.flatten(), target.flatten()
    return (s.to(at_least_float32(s, target)) - target).square()
