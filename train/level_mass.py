"""Training the level words' probability among all tokens without touching what scores are read from.

A score is read from the level words' logits alone. If the loss of their mass reached the hidden states, these would
have to tell the level words from a thousand other tokens as well as from each other; on the demo that cost 0.04 to
0.06 of SROCC. So its gradient goes to the other tokens' rows of the output head, on which no score depends.
"""

from typing import Any

from torch import Tensor

from artquant_plugin.backbones.interface import core


class OtherTokens:
    """Computes a second time the logits at the level positions, such that their gradient reaches the head alone.

    It does so inside the model's forward pass, where the weights of a model that is spread over processes are at hand.
    A head that is not trained (as with LoRA in the language model) could not learn from them: then nothing is
    computed, and the loss of the mass reaches the hidden states.

    Args:
        model: the model that is trained, in a peft wrapper or without one, with what is trained chosen.
    """

    def __init__(self, model: Any) -> None:
        head = core(model).get_output_embeddings()
        self._is_level: Tensor | None = None
        self._logits: Tensor | None = None
        if any(parameter.requires_grad for parameter in head.parameters()):
            head.register_forward_hook(self._again)

    def watch(self, is_level: Tensor | None) -> None:
        """Say at which of the next pass's S supervised positions a level is decided.

        Args:
            is_level: shape (S,), bool; None for passes of which nothing is wanted, such as those of an evaluation.
        """
        self._is_level, self._logits = is_level, None

    def take(self) -> Tensor | None:
        """The logits of the last pass, shape (n, V) for n level positions; None where the head is not trained."""
        logits, self._logits, self._is_level = self._logits, None, None
        return logits

    def _again(self, head: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._is_level is not None:
            hidden = inputs[0].detach().flatten(0, -2)
            self._logits = head.forward(hidden[self._is_level])  # not called, as that would come here again
