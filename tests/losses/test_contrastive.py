"""CRD against recorded numbers of the original and explicit loops; its banks, Z, and negatives."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.testing import assert_close

from fairseq_kd.losses import CRD, Negatives
from tests.originals import recorded

N, F, K = 40, 16, 10


def draw(module: CRD, batch: int, seed: int = 0):
    """Draw vectors of both sides, training numbers and negatives."""
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(batch, module.student_projection.in_features, generator=generator)
    teacher = torch.randn(batch, module.teacher_projection.in_features, generator=generator)
    index = torch.randperm(module.num_examples, generator=generator)[:batch]
    negatives = torch.randint(module.num_examples, (batch, module.negatives), generator=generator)
    return student, teacher, index, negatives


@pytest.fixture
def crd() -> CRD:
    torch.manual_seed(1)
    return CRD(N, 24, 36, feature_dim=F, negatives=K)


def buffers(module: CRD) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_two_calls_equal_the_original():
    """In the original, Z and the temperature are float32, and the scalar is the mean over B."""
    d, tolerance = recorded("crd"), 1e-6
    module = CRD(N, 96, 312, feature_dim=F, negatives=K).double()
    parts = [(side, name) for side in SIDES for name in ("weight", "bias")]
    state = {f"{side}_projection.{name}": d[f"in_{name}_{side}"] for side, name in parts}
    state |= {f"{side}_bank": d[f"in_bank_{side}_0"] for side in SIDES}
    module.load_state_dict(state, strict=False)

    for call in (1, 2):
        student = d[f"in_student_features_{call}"].requires_grad_()
        contrast = d[f"in_contrast_index_{call}"]
        each = module(student, d[f"in_teacher_features_{call}"], d[f"in_index_{call}"], contrast[:, 1:])
        module.zero_grad()
        each.mean().backward()

        assert each.dtype == torch.float64
        assert_close(each, d[f"out_each_sentence_{call}"], rtol=tolerance, atol=0)
        assert each.mean().item() == pytest.approx(d[f"out_loss_{call}"].item(), rel=tolerance)
        layers = {side: module.get_submodule(f"{side}_projection") for side in SIDES}
        expected = {f"{name}_{side}": getattr(layers[side], name).grad for side, name in parts}
        expected["student_features"] = student.grad
        for name, found in expected.items():
            wanted = d[f"grad_{name}_{call}"]
            assert_close(found, wanted, rtol=0, atol=tolerance * wanted.abs().max().item())
        for side, z in zip(SIDES, module.normalizers, strict=True):
            assert_close(getattr(module, f"{side}_bank"), d[f"out_bank_{side}_{call}"], rtol=0, atol=1e-6)
            assert z.item() == pytest.approx(d[f"out_z_{side}_{call}"], rel=1e-5)


SIDES = ("student", "teacher")


def test_gradients_equal_finite_differences(crd):
    crd = crd.double()
    crd(*(x.double() if x.is_floating_point() else x for x in draw(crd, 3)))
    crd.eval()  # Z and banks stay fixed, so that the loss is a function of the inputs only
    student, teacher, index, negatives = draw(crd, 3, seed=5)
    assert torch.autograd.gradcheck(
        lambda s, t: crd(s, t, index, negatives),
        (student.double().requires_grad_(), teacher.double().requires_grad_()),
    )


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_buffers_stay_float32_in_a_half_precision_module(crd, narrow):
    expected = buffers(crd)
    crd.to(narrow)

    assert crd.student_projection.weight.dtype == narrow
    for name, buffer in crd.named_buffers():
        assert buffer.dtype == torch.float32
        assert torch.equal(buffer, expected[name])
    each = crd(*draw(crd, 3))
    assert each.dtype == torch.float32
    assert torch.isfinite(each).all()


def test_unseen_sentences_take_negatives_from_the_batch(crd):
    crd(*draw(crd, 4))
    student, teacher, _, _ = draw(crd, 3, seed=3)
    found = crd.unseen(student, teacher, torch.tensor([0, 1, 1]))

    features = crd.student_projection(student), crd.teacher_projection(teacher)
    f_s, f_t = (torch.nn.functional.normalize(x, dim=1) for x in features)
    p = [(f_s @ f_t.T / 0.07).exp() / crd.normalizers[0], (f_t @ f_s.T / 0.07).exp() / crd.normalizers[1]]
    others = [[1, 2], [0], [0]]
    c = K / N
    for b in range(3):
        both = [
            -(side[b, b] / (side[b, b] + c)).log() - K * (c / (side[b, others[b]] + c)).log().mean()
            for side in p
        ]
        assert_close(found[b], sum(both) / 2, rtol=1e-5, atol=0)

    alone = crd.unseen(student[:1], teacher[:1], torch.tensor([0]))  # no negatives
    p_own = torch.stack([side[0, 0] for side in p])
    assert_close(alone[0], -(p_own / (p_own + c)).log().mean(), rtol=1e-5, atol=0)


def test_index_minus_1_does_not_update_the_banks(crd):
    student, teacher, index, negatives = draw(crd, 4)
    before = buffers(crd)
    each = crd(student, teacher, torch.full_like(index, -1), negatives)
    assert torch.isfinite(each).all()
    for name, buffer in crd.named_buffers():
        assert torch.equal(buffer, before[name]), name

    index[1] = -1
    crd(student, teacher, index, negatives)
    moved = (crd.student_bank != before["student_bank"]).any(dim=1).nonzero().flatten()
    assert moved.tolist() == sorted(index[index >= 0].tolist())
    assert (crd.normalizers > 0).all()


# Worker 0 has five sentences. Worker 1 has three, of which one has no index.
SHARES = [slice(0, 5), slice(5, 8)]


def batches(module: CRD):
    for seed in range(3):
        student, teacher, index, negatives = draw(module, 8, seed)
        index[6] = -1
        yield student, teacher, index, negatives


def _worker(rank: int, out) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=2)
    torch.manual_seed(1)
    module = CRD(N, 24, 36, feature_dim=F, negatives=K)
    losses = [module(*(x[SHARES[rank]] for x in batch)) for batch in batches(module)]
    torch.save({"losses": [loss.detach() for loss in losses], **buffers(module)}, f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_workers_have_the_banks_of_one(crd, tmp_path):
    mp.start_processes(_worker, args=(tmp_path,), nprocs=2, start_method="fork")
    expected = [crd(*batch).detach() for batch in batches(crd)]
    zero, one = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))

    for together, first, second in zip(expected, zero["losses"], one["losses"], strict=True):
        # On both sides of the comparison, Z counts only sentences with an index.
        assert_close(torch.cat([first, second]), together)
    for name, buffer in crd.named_buffers():
        assert torch.equal(zero[name], one[name]), name
        assert_close(zero[name], buffer)


LABELS = torch.tensor([0, 1, 2, 1, 0, 0, 2, 1, 0, 1] * 6)


def test_negatives_have_another_label():
    for count in (5, 36, 37, 100):
        drawn = Negatives(LABELS, 3, count)(LABELS)
        assert drawn.shape == (60, count)
        assert (LABELS[drawn] != LABELS[:, None]).all()


@pytest.mark.parametrize(("count", "replacement"), [(36, False), (37, True)])
def test_negatives_repeat_only_if_the_smallest_pool_is_too_small(count, replacement):
    negatives = Negatives(LABELS, 3, count)  # 24 sentences of labels 0 and 1, 12 of label 2
    assert negatives.replacement == replacement
    repeated = [len(row.unique()) < count for row in negatives(LABELS)]
    assert any(repeated) == replacement


def test_every_sentence_of_the_pool_is_equally_likely():
    torch.manual_seed(0)
    drawn = Negatives(LABELS, 3, 7)(torch.full((12000,), 2))  # from a pool of 48
    share = torch.bincount(drawn.flatten(), minlength=60)[LABELS != 2] / 12000
    assert_close(share, torch.full((48,), 7 / 48), rtol=0, atol=0.015)
