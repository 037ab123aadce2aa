"""The losses of multi-task aesthetic training (ArtQuant, Eqs. 2, 6-8), as pure functions of logits and targets.

The paper's form says nothing of how probable the level words are among all tokens, because its softmax runs over the
level words alone. `LossTerms.ce_mass` says it, and trains it where the configuration gives it a weight.

Every term is a sum divided by a count. Left out, the count is the batch's own; given, it is that of a whole
optimisation step, so that micro-batches add up to exactly what one large batch gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from artquant_plugin.train.sections import LossSection

Count = Tensor | float

TERMS = ("ce_description", "ce_answer", "kl", "ranking")  # the order of the counts that the terms are divided by
LOGGED = {"ce_description": 0, "ce_answer": 1, "kl": 2, "ce_mass": 2, "level_mass": 2, "ranking": 3}  # which count
_TINY = 1e-12  # keeps the root of a variance that vanished from having no gradient


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The terms of one batch's loss, each a float32 scalar; a term without samples is 0.

    Args:
        ce_description: L_CE, mean over description tokens (Eq. 2).
        ce_answer: mean over the tokens of score answers, the level token left out (L_ce in Eq. 7).
        kl: mean over score samples of KL(target ‖ predicted) at the level token (Eq. 6).
        ranking: mean over pairs of score samples of their fidelity loss; not part of the paper's loss.
        ce_mass: mean over score samples of -log m, where m is the probability at the level token that all level words
            have together among all tokens; not part of the paper's loss.
        level_mass: mean of m itself, which is watched and not trained on.
    """

    ce_description: Tensor
    ce_answer: Tensor
    kl: Tensor
    ranking: Tensor
    ce_mass: Tensor
    level_mass: Tensor

    def total(self, *, k: float, k_asl: float, k_mass: float = 0.0, k_ranking: float = 0.0) -> Tensor:
        """L_CE + k_ASL · (L_ce + k · L_kl + k_mass · L_mass) + k_ranking · L_ranking.

        With k_mass and k_ranking 0, which leaves these terms out, it is the paper's L_MAT (Eqs. 7 and 8).
        """
        levels = self.ce_answer + k * self.kl
        total = self.ce_description + k_asl * (levels if k_mass == 0 else levels + k_mass * self.ce_mass)
        return total if k_ranking == 0 else total + k_ranking * self.ranking

    def stacked(self) -> Tensor:
        """What the log shows, without its graph, shape (6,), in the order of `LOGGED`."""
        return torch.stack([getattr(self, name) for name in LOGGED]).detach()


def batch_terms(
    parts: Sequence[dict[str, Any]],
    logits: Sequence[Tensor],
    counts: Tensor,
    *,
    section: LossSection,
    level_ids: Tensor,
    level_values: Sequence[float],
) -> LossTerms:
    """The terms of a batch's loss.

    Args:
        parts: Parts of a batch of `AnswerCollator`.
        logits: For each part, the logits at its S supervised positions, shape (S, V) or (1, S, V).
        counts: What each term's sum is divided by, shape (4,), in the order of `TERMS`.
        section: Forms of the terms; its weights are not applied here.
        level_ids: Token ids of the K levels, shape (K,), long.
        level_values: Score that each level stands for, length K.
    """
    logits = [each.flatten(0, -2) for each in logits]
    tokens = torch.cat([per_token(each, part["next_ids"]) for each, part in zip(logits, parts, strict=True)])
    is_level = torch.cat([part["is_level"] for part in parts])
    is_description = torch.cat([part["is_description"] for part in parts])
    at_level = torch.cat([each[part["is_level"]] for each, part in zip(logits, parts, strict=True)])
    targets = torch.cat([part["level_targets"] for part in parts])
    level_ids = level_ids.to(at_level.device)
    count = dict(zip(TERMS, counts.to(at_level.device).unbind(), strict=True))
    whole = section.softmax == "vocabulary"
    outside = mass_cross_entropy(at_level if section.k_mass else at_level.detach(), level_ids)
    if section.k_ranking == 0:
        ranking = at_level.new_zeros((), dtype=torch.float32)
    else:
        ranking = _ranking(at_level[:, level_ids], targets, level_values, section.ranking, count["ranking"])
    return LossTerms(
        ce_description=mean(tokens[is_description], count["ce_description"]),
        ce_answer=mean(tokens[~is_level & ~is_description], count["ce_answer"]),
        kl=level_divergence(
            at_level if whole else at_level[:, level_ids],
            targets,
            level_ids=level_ids if whole else None,
            count=count["kl"],
        ),
        ranking=ranking,
        ce_mass=mean(outside, count["kl"]),
        level_mass=mean(outside.detach().neg().exp(), count["kl"]),
    )


def _ranking(logits: Tensor, targets: Tensor, level_values: Sequence[float], kind: str, count: Tensor) -> Tensor:
    """The fidelity loss of all pairs in a batch; soft labels tell the true scores and their spread."""
    values = torch.tensor(level_values, dtype=torch.float32, device=logits.device)
    scores, variances = moments(logits.float().softmax(dim=-1), values)
    true_scores, true_variances = moments(targets.float(), values)
    return pair_fidelity(
        scores,
        true_scores,
        variances=variances if kind == "predicted" else None,
        true_variances=true_variances if kind != "binary" else None,
        count=count,
    )


def per_token(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each token, in float32.

    Args:
        logits: Logits over a vocabulary of V tokens, shape (n, V), of any floating type.
        targets: Token ids that are to be predicted, shape (n,), long.

    Returns:
        Shape (n,).
    """
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def mass_cross_entropy(logits: Tensor, level_ids: Tensor) -> Tensor:
    """-log of the probability that the level words have together among all tokens, in float32.

    The KL divergence over the whole vocabulary is the one over the level words plus this.

    Args:
        logits: Logits over a vocabulary of V tokens, shape (n, V), of any floating type.
        level_ids: Token ids of the K levels, shape (K,), long.

    Returns:
        Shape (n,), at least 0.

    Example:
        >>> import torch
        >>> mass_cross_entropy(torch.zeros(1, 4), torch.tensor([1, 3])).item()  # log 2
        0.6931471824645996
    """
    logits = logits.float()
    levels = logits[:, level_ids].logsumexp(dim=-1)
    others = logits.index_fill(1, level_ids, -torch.inf).logsumexp(dim=-1)
    return functional.softplus(others - levels)  # -log of e^levels / (e^levels + e^others)


def level_divergence(
    logits: Tensor, targets: Tensor, *, level_ids: Tensor | None = None, count: Count | None = None
) -> Tensor:
    """Mean KL(target ‖ predicted) over score samples, in float32 (ArtQuant, Eq. 6, with the sign of a divergence).

    Args:
        logits: Logits of the K level tokens, shape (n, K); of all tokens, shape (n, V), when `level_ids` is given.
        targets: Soft labels, shape (n, K), whose rows sum to 1; a probability of zero contributes nothing.
        level_ids: Token ids of the levels in the vocabulary, shape (K,). The prediction's softmax then runs over all V
            tokens, as in the released code, and the divergence also counts what is given to other tokens.
        count: What the sum is divided by, above 0; n when None.

    Returns:
        Scalar >= 0; 0 (attached to the graph) when n is 0.

    References:
        GitHub Henglin-Liu/ArtQuant at f6b1fca: softmax over the vocabulary, summed over levels, mean over samples.

    Example:
        >>> import torch
        >>> level_divergence(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item()  # log 2
        0.6931471824645996
        >>> level_divergence(torch.zeros(1, 4), torch.tensor([[1.0, 0.0]]), level_ids=torch.tensor([1, 3])).item()
        1.3862943649291992
    """
    predicted = functional.log_softmax(logits.float(), dim=-1)
    if level_ids is not None:
        predicted = predicted[:, level_ids]
    rows = functional.kl_div(predicted, targets.float(), reduction="none").sum(dim=-1)
    return mean(rows, count)


def moments(probabilities: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Score and variance of distributions over the levels.

    Args:
        probabilities: Probabilities of the K levels, shape (n, K), whose rows sum to 1.
        values: Score that each level stands for, shape (K,), in the unit of the dataset.

    Returns:
        Expectation, shape (n,), and variance, shape (n,), in the unit's square.

    Example:
        >>> import torch
        >>> moments(torch.tensor([[0.5, 0.5]]), torch.tensor([4.0, 2.0]))
        (tensor([3.]), tensor([1.]))
    """
    scores = probabilities @ values
    return scores, (probabilities * (values - scores[:, None]) ** 2).sum(dim=-1)


def pair_fidelity(
    scores: Tensor,
    true_scores: Tensor,
    *,
    variances: Tensor | None = None,
    true_variances: Tensor | None = None,
    count: Count | None = None,
) -> Tensor:
    """Mean fidelity loss over all pairs of n samples: is the better one of two predicted to be the better one?

    With Thurstone's model, P(i better than j) = Φ((s_i - s_j) / sqrt(var_i + var_j)); the loss of a pair is
    1 - sqrt(p q) - sqrt((1 - p)(1 - q)) for the predicted p and the true q.

    Args:
        scores: Predicted scores, shape (n,), in the unit of the dataset.
        true_scores: Scores that people gave, shape (n,), in the same unit.
        variances: Variances of the predictions, shape (n,), at least 0; each is 1 when None. No gradient flows through
            them, as in DeQA's code, so that being unsure of a pair is not a way to lower its loss.
        true_variances: Variances of the raters' scores, shape (n,), at least 0. When None, the true preference is
            binary: 1, 0, or a half for equal scores.
        count: What the sum is divided by, above 0; the number of pairs, n (n - 1) / 2, when None.

    Returns:
        Scalar in [0, 1]; 0 (attached to the graph) for less than two samples.

    References:
        DeQA-Score, You et al. 2025, section "Fidelity loss"; GitHub zhiyuanyou/DeQA-Score at 8e4abc8, where a binary
        preference always goes with predicted variances of 1.

    Example:
        >>> import torch
        >>> pair_fidelity(torch.tensor([5.0, 5.0]), torch.tensor([8.0, 2.0])).item()  # 1 - sqrt(1/2)
        0.2928932309150696
    """
    first, second = torch.triu_indices(len(scores), len(scores), offset=1, device=scores.device)
    scores, true_scores = scores.float(), true_scores.float()
    variances = torch.ones_like(scores) if variances is None else variances.detach().float()
    margin = (scores[first] - scores[second]) / (variances[first] + variances[second]).clamp_min(_TINY).sqrt()
    true_margin = true_scores[first] - true_scores[second]
    if true_variances is None:
        preferred = (true_margin.sign() + 1) / 2
        disliked = 1 - preferred
    else:
        spread = (true_variances.float()[first] + true_variances.float()[second]).clamp_min(_TINY).sqrt()
        preferred, disliked = (torch.special.ndtr(sign * true_margin / spread) for sign in (1, -1))
    # The root of a probability through its logarithm: p = 0 and p = 1 keep a finite gradient.
    likely, unlikely = ((torch.special.log_ndtr(sign * margin) / 2).exp() for sign in (1, -1))
    return mean(1 - likely * preferred.sqrt() - unlikely * disliked.sqrt(), count)


def mean(values: Tensor, count: Count | None = None) -> Tensor:
    """The sum divided by a count.

    Args:
        values: Numbers to average, shape (n,).
        count: What their sum is divided by, above 0; n when None. Without any values, the sum of 0 is not divided.

    Returns:
        Scalar; 0 (attached to the graph) when n is 0.
    """
    return values.sum() / (max(len(values), 1) if count is None or len(values) == 0 else count)
