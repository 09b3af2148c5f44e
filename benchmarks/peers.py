"""One training step of the same models and loss in transformers, TextBrewer and stock fairseq, for `benchmarks.step`."""

from argparse import Namespace
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.ours import Ours
from benchmarks.plain_losses import METHODS, Outputs, Pairs, loss
from fairseq_kd.convert.stock import stock_state
from fairseq_kd.convert.transformers import config_of, weights_of
from fairseq_kd.models.checkpoint import DEFAULT_HEAD, Checkpoint
from fairseq_kd.models.encoder import PAD

# TextBrewer's name of a term.
TEXTBREWER_TERMS = {
    "hidden": ("hidden", "hidden_mse"),
    "attention_mse": ("attention", "attention_mse"),
    "attention_kl": ("attention", "attention_ce"),
}


class Peer:
    """Student and teacher of another library, and the loss written plainly.

    padded_to  pad all sentences to this many tokens; None for the longest of the batch
    """

    def __init__(self, ours: Ours, teacher: Checkpoint, padded_to: int | None = None) -> None:
        setting = ours.setting
        self.device, self.method, self.padded_to = setting.device, setting.method, padded_to
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=setting.autocast == "bf16")
        self.pairs = pairs_of(ours)
        self.needs = set(METHODS[self.method])
        self.student = self.build(ours.student_checkpoint()).to(self.device).train()
        self.teacher = self.build(teacher).to(self.device).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-5, fused=True)

    def build(self, checkpoint: Checkpoint) -> nn.Module:
        """Return a model of the library with these weights."""
        raise NotImplementedError

    def outputs(self, model: nn.Module, tokens: Tensor) -> Outputs:
        """Run the model on padded tokens [B, T]."""
        raise NotImplementedError

    def step(self, batch: dict[str, Any]) -> None:
        """Make one update of the weights."""
        total = self.batch_loss(batch)
        total.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def batch_loss(self, batch: dict[str, Any]) -> Tensor:
        """Return the mean loss of the batch."""
        tokens, labels = self.tensors(batch)
        with self.autocast:
            with torch.no_grad():
                teacher = self.outputs(self.teacher, tokens)
            student = self.outputs(self.student, tokens)
            return loss(self.method, self.pairs, student, teacher, tokens.ne(PAD), labels)

    def tensors(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return padded tokens [B, T] and labels [B] on the device."""
        tokens = batch["net_input"]["src_tokens"]
        if self.padded_to is not None:
            tokens = F.pad(tokens, (0, self.padded_to - tokens.size(1)), value=PAD)
        return tokens.to(self.device), batch["target"].to(self.device)

    @torch.no_grad()
    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Return the mean loss of the batch, without dropout."""
        self.student.eval()
        found = self.batch_loss(batch)
        self.student.train()
        return found


class Transformers(Peer):
    """transformers' RoBERTa: attention by torch's fused function where the loss allows it, else eager."""

    eager = False

    def build(self, checkpoint: Checkpoint) -> nn.Module:
        from transformers import AttentionInterface, RobertaConfig, RobertaForSequenceClassification
        from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask

        AttentionInterface.register("observed_eager", observed_eager)
        AttentionInterface.register("observed_sdpa", observed_sdpa)
        AttentionMaskInterface.register("observed_eager", eager_mask)
        AttentionMaskInterface.register("observed_sdpa", sdpa_mask)
        scores = self.eager or self.needs & {"attention_kl", "attention_mse"}
        config = RobertaConfig(
            **config_of(checkpoint, DEFAULT_HEAD, ()),
            attn_implementation="observed_eager" if scores else "observed_sdpa",
        )
        model = RobertaForSequenceClassification(config)
        model.load_state_dict(weights_of(checkpoint, DEFAULT_HEAD), strict=False)
        return model

    def outputs(self, model: nn.Module, tokens: Tensor) -> Outputs:
        mask = tokens.ne(PAD).long()
        out = model(tokens, attention_mask=mask, output_hidden_states="hidden" in self.needs)
        layers = [layer.attention.self for layer in model.roberta.encoder.layer]
        seen = [layer.__dict__.pop("seen") for layer in layers]
        by_layer = [dict(enumerate(tensors, start=1)) for tensors in zip(*seen, strict=True)]
        return Outputs(out.logits, out.hidden_states, *by_layer)


class EagerTransformers(Transformers):
    """transformers' RoBERTa with eager attention."""

    eager = True


class TextBrewer(EagerTransformers):
    """TextBrewer's GeneralDistiller with transformers' RoBERTa."""

    def __init__(self, ours: Ours, teacher: Checkpoint, padded_to: int | None = None) -> None:
        super().__init__(ours, teacher, padded_to)
        import textbrewer

        matches = []
        for term in METHODS[self.method]:
            feature, name = TEXTBREWER_TERMS[term]
            first = 0 if feature == "hidden" else 1  # its lists of attention begin with layer 1
            for i, j in self.pairs["states" if feature == "hidden" else "layers"]:
                match = {
                    "layer_S": i - first,
                    "layer_T": j - first,
                    "feature": feature,
                    "loss": name,
                    "weight": 1,
                }
                matches.append(match)
        self.distiller = textbrewer.GeneralDistiller(
            textbrewer.TrainingConfig(device=self.device, log_dir=None, output_dir="/dev/null"),
            textbrewer.DistillationConfig(
                temperature=2, hard_label_weight=0.5, kd_loss_weight=0.5, intermediate_matches=matches
            ),
            self.teacher,
            self.student,
            self.adapt,
            self.adapt,
        )

    def adapt(self, batch: dict[str, Tensor], outputs: Any) -> dict[str, Any]:
        """Return what TextBrewer compares."""
        model = self.student if outputs.logits.requires_grad else self.teacher
        seen = [layer.attention.self.__dict__.pop("seen") for layer in model.roberta.encoder.layer]
        return {
            "logits": outputs.logits,
            "losses": outputs.loss,
            "hidden": outputs.hidden_states,
            "attention": [scores for *_, scores in seen],
            "inputs_mask": batch["attention_mask"],
        }

    def batch_loss(self, batch: dict[str, Any]) -> Tensor:
        tokens, labels = self.tensors(batch)
        given = {"input_ids": tokens, "attention_mask": tokens.ne(PAD).long(), "labels": labels}
        with self.autocast:
            total, _ = self.distiller.train_on_batch(given, {"output_hidden_states": "hidden" in self.needs})
        return total

    @staticmethod
    def supports(method: str) -> bool:
        """Return whether TextBrewer has all terms of the method."""
        return set(METHODS[method]) <= set(TEXTBREWER_TERMS)


class StockFairseq(Peer):
    """Stock fairseq's RoBERTa, which exposes hidden states but no attention scores."""

    def build(self, checkpoint: Checkpoint) -> nn.Module:
        from fairseq.data import Dictionary
        from fairseq.models.roberta import RobertaModel, base_architecture

        state = stock_state(checkpoint)
        args = Namespace(**vars(state["args"]))
        base_architecture(args)
        dictionary = Dictionary()
        for word in range(checkpoint.words - len(dictionary)):
            dictionary.add_symbol(str(word))
        model = RobertaModel.build_model(args, SimpleNamespace(source_dictionary=dictionary))
        model.register_classification_head(DEFAULT_HEAD, checkpoint.classes(DEFAULT_HEAD))
        model.load_state_dict(state["model"], strict=False)
        return model

    def outputs(self, model: nn.Module, tokens: Tensor) -> Outputs:
        logits, extra = model(
            tokens,
            features_only=True,
            classification_head_name=DEFAULT_HEAD,
            return_all_hiddens="hidden" in self.needs,
        )
        states = [state.transpose(0, 1) for state in extra["inner_states"] or ()]
        return Outputs(logits, states, {}, {}, {}, {})

    @staticmethod
    def supports(method: str) -> bool:
        """Return whether the method needs nothing but logits and hidden states."""
        return set(METHODS[method]) <= {"hidden"}


def pairs_of(ours: Ours) -> Pairs:
    """Return the pairs of states and layers of the method."""
    pairs: Pairs = {}
    for name, part in ours.criterion.named_children():
        if getattr(part, "pairs", None):
            pairs["states" if name == "hidden" else "layers"] = part.pairs
    return pairs


def observed_eager(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Compute attention as transformers' eager function does, and keep its inputs and the scores."""
    scores = query @ key.transpose(2, 3) * options["scaling"]
    module.__dict__["seen"] = (query, key, value, scores)
    masked = scores if mask is None else scores + mask
    probabilities = F.dropout(F.softmax(masked, dim=-1), options["dropout"], module.training)
    return (probabilities @ value).transpose(1, 2).contiguous(), None


def observed_sdpa(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Compute attention by torch's fused function, and keep its inputs."""
    module.__dict__["seen"] = (query, key, value, None)
    x = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=options["dropout"], scale=options["scaling"]
    )
    return x.transpose(1, 2).contiguous(), None


BuildPeer = Callable[[Ours, Checkpoint], Peer]
