import math

import pytest
import torch

from artquant_plugin.train.losses import LossParts, level_divergence, token_cross_entropy


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
    parts = LossParts(torch.tensor(2.0), torch.tensor(3.0), torch.tensor(5.0))
    assert parts.total(k=0.5, k_asl=0.1).item() == pytest.approx(2 + 0.1 * (3 + 0.5 * 5))
