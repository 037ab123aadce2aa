import math

import pytest
import torch

from artquant_plugin.train.losses import (
    LossTerms,
    level_divergence,
    mass_cross_entropy,
    mean,
    moments,
    pair_fidelity,
    per_token,
)


def token_cross_entropy(logits, targets, count=None):
    """The term of a batch's tokens, as `batch_terms` puts it together."""
    return mean(per_token(logits, targets), count)


def test_cross_entropy_is_the_mean_over_tokens():
    # softmax(0, log 3) = (1/4, 3/4); tokens 1 and 0 cost -log 3/4 and -log 1/4.
    logits = torch.tensor([[0.0, math.log(3)]] * 2)
    expected = (-math.log(3 / 4) - math.log(1 / 4)) / 2
    assert token_cross_entropy(logits, torch.tensor([1, 0])).item() == pytest.approx(expected, rel=1e-6)


def test_divergence_is_target_against_prediction_and_not_the_reverse():
    # predicted (1/4, 3/4), target (1/2, 1/2): 1/2 log 2 + 1/2 log 2/3; the reverse would be 1/4 log 1/2 + 3/4 log 3/2.
    logits = torch.tensor([[0.0, math.log(3)]])
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert level_divergence(logits, torch.tensor([[0.5, 0.5]])).item() == pytest.approx(expected, rel=1e-6)


def test_divergence_is_the_mean_over_samples_and_zero_where_the_prediction_is_the_target():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    targets = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert level_divergence(logits, targets).item() == pytest.approx(math.log(2) / 2, rel=1e-6)


def test_divergence_has_the_gradient_of_softmax_minus_target():
    logits = torch.zeros(1, 2, requires_grad=True)
    level_divergence(logits, torch.tensor([[1.0, 0.0]])).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.5, 0.5]]))


@pytest.mark.parametrize("loss", [token_cross_entropy, level_divergence])
def test_no_samples_give_zero_with_zero_gradients_and_no_nan(loss):
    logits = torch.zeros(3, 5, requires_grad=True)
    targets = torch.zeros(0, dtype=torch.long) if loss is token_cross_entropy else torch.zeros(0, 5)
    value = loss(logits[:0], targets)
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros(3, 5))


def test_half_precision_logits_are_summed_in_float32():
    logits = torch.full((1, 5000), 4.0, dtype=torch.bfloat16)
    assert token_cross_entropy(logits, torch.tensor([7])).item() == pytest.approx(math.log(5000), rel=1e-6)


def test_total_weights_the_parts_as_the_paper_does():
    parts = LossTerms(*map(torch.tensor, (2.0, 3.0, 5.0, 7.0, 11.0, 0.9)))
    assert parts.total(k=0.5, k_asl=0.1).item() == pytest.approx(2 + 0.1 * (3 + 0.5 * 5))
    assert parts.total(k=0.5, k_asl=0.1, k_ranking=2).item() == pytest.approx(2 + 0.1 * (3 + 0.5 * 5) + 2 * 7)
    assert parts.total(k=0.5, k_asl=0.1, k_mass=0.3).item() == pytest.approx(2 + 0.1 * (3 + 0.5 * 5 + 0.3 * 11))
    assert parts.stacked().tolist() == pytest.approx([2, 3, 5, 11, 0.9, 7])


def test_a_count_takes_the_place_of_the_own_number():
    # Halves of a batch of four, each divided by four, add up to the mean of the whole.
    logits, targets = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])
    halves = [token_cross_entropy(logits[half], targets[half], 4) for half in (slice(2), slice(2, 4))]
    torch.testing.assert_close(sum(halves), token_cross_entropy(logits, targets))
    assert token_cross_entropy(logits[:0], targets[:0], 0).item() == 0


def test_divergence_over_the_vocabulary_counts_what_other_tokens_get():
    # Of four tokens the levels are 3 and 0. softmax(log 1, log 2, log 3, log 4) = (.1, .2, .3, .4).
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).log()
    expected = 0.5 * math.log(0.5 / 0.4) + 0.5 * math.log(0.5 / 0.1)
    found = level_divergence(logits, torch.tensor([[0.5, 0.5]]), level_ids=torch.tensor([3, 0]))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_mass_is_what_the_levels_have_together_among_all_tokens():
    # Of four tokens the levels are 3 and 0: 0.4 + 0.1 of 1.
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).log()
    assert mass_cross_entropy(logits, torch.tensor([3, 0])).tolist() == pytest.approx([-math.log(0.5)])
    certain = torch.tensor([[50.0, 50.0, -50.0, -50.0]])  # 1 - m is e^-100, which 1 - m in float32 would lose
    assert mass_cross_entropy(certain, torch.tensor([0, 1])).tolist() == pytest.approx([math.exp(-100)], rel=1e-3)
    assert mass_cross_entropy(logits[:0], torch.tensor([3, 0])).tolist() == []


def test_the_divergence_over_the_vocabulary_is_that_over_the_levels_and_the_mass():
    generator = torch.Generator().manual_seed(0)
    logits, levels = torch.randn(7, 20, generator=generator), torch.tensor([4, 19, 0])
    targets = torch.rand(7, 3, generator=generator).softmax(-1)
    torch.testing.assert_close(
        level_divergence(logits, targets, level_ids=levels),
        level_divergence(logits[:, levels], targets) + mean(mass_cross_entropy(logits, levels)),
    )


def test_moments_of_a_distribution():
    # 0.2 at 10 and 0.8 at 5: mean 6, variance 0.2 * 16 + 0.8 * 1 = 4.
    scores, variances = moments(torch.tensor([[0.2, 0.8]]), torch.tensor([10.0, 5.0]))
    assert (scores.item(), variances.item()) == (pytest.approx(6), pytest.approx(4))


def phi(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def test_fidelity_of_a_pair_by_hand():
    # Predicted 6 and 5 with variances 9 and 16: p = phi(1/5). True 4 and 7 with variances 1 and 3: q = phi(-3/2).
    p, q = phi(1 / 5), phi(-3 / 2)
    expected = 1 - math.sqrt(p * q) - math.sqrt((1 - p) * (1 - q))
    found = pair_fidelity(
        torch.tensor([6.0, 5.0]),
        torch.tensor([4.0, 7.0]),
        variances=torch.tensor([9.0, 16.0]),
        true_variances=torch.tensor([1.0, 3.0]),
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_binary_fidelity_by_hand_over_three_pairs():
    # Predicted 3, 2, 2; the first is truly worse than the second and equal to the third, the second better than it.
    p = phi(1 / math.sqrt(2))
    pairs = [1 - math.sqrt(1 - p), 1 - math.sqrt(p / 2) - math.sqrt((1 - p) / 2), 1 - math.sqrt(1 / 2)]
    found = pair_fidelity(torch.tensor([3.0, 2.0, 2.0]), torch.tensor([1.0, 2.0, 1.0]))
    assert found.item() == pytest.approx(sum(pairs) / 3, rel=1e-5)


@pytest.mark.parametrize("variances", [None, torch.zeros(2)])
def test_certain_predictions_have_a_finite_fidelity_and_gradient(variances):
    scores = torch.tensor([1.0, 10.0], requires_grad=True)
    found = pair_fidelity(scores, torch.tensor([9.0, 2.0]), variances=variances)
    found.backward()
    assert found.item() == pytest.approx(1, abs=1e-4)
    assert scores.grad.isfinite().all()


def test_one_sample_makes_no_pair():
    scores = torch.tensor([5.0], requires_grad=True)
    found = pair_fidelity(scores, torch.tensor([5.0]), count=0)
    found.backward()
    assert (found.item(), scores.grad.item()) == (0, 0)
