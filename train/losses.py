"""The losses of multi-task aesthetic training (ArtQuant, Eqs. 2, 6-8), as pure functions of logits and targets."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class LossParts:
    """The terms of one batch's loss, each a float32 scalar; a term without samples is 0.

    Args:
        ce_description: L_CE, mean over description tokens (Eq. 2).
        ce_answer: mean over the tokens of score answers, the level token left out (L_ce in Eq. 7).
        kl: mean over score samples of KL(target ‖ predicted) at the level token (Eq. 6).
    """

    ce_description: Tensor
    ce_answer: Tensor
    kl: Tensor

    def total(self, *, k: float, k_asl: float) -> Tensor:
        """L_MAT = L_CE + k_ASL · (L_ce + k · L_kl) (Eqs. 7 and 8)."""
        return self.ce_description + k_asl * (self.ce_answer + k * self.kl)


def token_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over tokens, in float32.

    Args:
        logits: shape (n, V), any floating type.
        targets: shape (n,), token ids.

    Returns:
        Scalar; 0 (attached to the graph) when n is 0.

    Example:
        >>> import torch
        >>> token_cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3])).item()  # log 4
        1.3862943649291992
        >>> token_cross_entropy(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)).item()
        0.0
    """
    total = functional.cross_entropy(logits.float(), targets, reduction="sum")
    return total / max(targets.numel(), 1)


def level_divergence(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean KL(target ‖ predicted) over score samples, in float32 (ArtQuant, Eq. 6, with the sign of a divergence).

    Args:
        logits: shape (n, K), the logits of the K level tokens.
        targets: shape (n, K), soft labels; rows sum to 1; zeros contribute nothing.

    Returns:
        Scalar >= 0; 0 (attached to the graph) when n is 0.

    Example:
        >>> import torch
        >>> level_divergence(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item()  # log 2
        0.6931471824645996
    """
    predicted = functional.log_softmax(logits.float(), dim=-1)
    total = functional.kl_div(predicted, targets.float(), reduction="sum")
    return total / max(targets.shape[0], 1)
