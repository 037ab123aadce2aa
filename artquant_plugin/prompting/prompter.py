"""From a processor to token ids: the chat prompt, the answers, and the position at which the level is decided.

Training and scoring both build their ids here, so that the token that is scored is the token that was trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.prompting.chat import adds_special_tokens, chat_inputs, render_chat, takes_answers_apart
from artquant_plugin.prompting.levels import ANSWER_PREFIX, LevelScale
from artquant_plugin.prompting.questions import DESCRIBE_QUESTION, SCORE_QUESTION

_MARK = "\u2063answer\u2063"  # stands for an answer while a template is rendered; no template writes it
_OF_IMAGES = ("pixel", "image")  # how processors begin the names of what they make of images
_THOUGHTS = "<think>"  # what opens the thoughts of models that think


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """What is asked and how the answer begins; part of a checkpoint's scoring file.

    Args:
        question: the user's text of a score request.
        describe_question: the user's text of a description request.
        answer_prefix: the assistant's words before the level word.
        image_first: whether the image stands before the question in the user's turn.
    """

    question: str = SCORE_QUESTION
    describe_question: str = DESCRIBE_QUESTION
    answer_prefix: str = ANSWER_PREFIX
    image_first: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An assistant's turn as text and token ids.

    Args:
        text: the conversation up to the end of the answer, as given to the processor with one image.
        ids: the token ids of the answer alone, its end of turn included; the last ids of `text`.
        level: index in `ids` of the token that tells the level; None in a description.
    """

    text: str
    ids: tuple[int, ...]
    level: int | None = None


class Prompter:
    """Prompts and answers of one processor.

    Args:
        processor: an `AutoProcessor` with a chat template and a tokenizer.
        spec: questions and answer prefix.
        scale: the levels.

    Raises:
        ArtQuantError: the processor has no chat template, or its tokenizer cannot tell the level words apart.
    """

    def __init__(self, processor: Any, spec: PromptSpec, scale: LevelScale) -> None:
        self.processor = processor
        self.spec = spec
        self.scale = scale
        self._chat, self._lead, self._end = self._render(spec.question)
        self._describe_chat, _, _ = self._render(spec.describe_question)
        prefix = self._lead + spec.answer_prefix
        self._appended = self._count_appended()
        tails = [self._before_end(f"{prefix} {name}") for name in scale.names]
        start = len(self._before_end(prefix))
        self._level_index, self.level_ids = _first_difference(scale.names, tails, start)

    def score_answer(self, level: int) -> Answer:
        """The answer that names a level: "The quality of the painting is good." and the end of the turn.

        Args:
            level: index into the scale's names.
        """
        answer = f"{self._lead}{self.spec.answer_prefix} {self.scale.names[level]}.{self._end}"
        ids = self._tail(self._chat, answer)
        if ids[self._level_index] != self.level_ids[level]:
            raise ArtQuantError(
                f"the tokenizer splits {self.scale.names[level]!r} differently before a full stop, so that its "
                "score could not be read; choose other level words"
            )
        return Answer(text=self._chat + answer, ids=ids, level=self._level_index)

    def describe_answer(self, description: str) -> Answer:
        """The answer that is a description, with the end of the turn."""
        answer = self._lead + description + self._end
        return Answer(text=self._describe_chat + answer, ids=self._tail(self._describe_chat, answer))

    @property
    def score_request(self) -> Answer:
        """What is fed to read a score: an answer whose level word stands behind the position that is read.

        A causal model does not see it there; `until_level` cuts it off. All levels share the ids before it.
        """
        return self.score_answer(0)

    @property
    def describe_text(self) -> str:
        """The prompt after which a description is generated."""
        return self._describe_chat

    def inputs(self, texts: Sequence[str], images: Sequence[Any]) -> dict[str, Any]:
        """Model inputs of a batch, padded on the right.

        Args:
            texts: n texts with one image each.
            images: n RGB images (PIL).

        Returns:
            What the processor gives: input_ids and attention_mask of shape (n, L), pixel values and the like.
        """
        answers = None
        if takes_answers_apart(self.processor):
            chats = [max((chat for chat in self.chats if text.startswith(chat)), key=len) for text in texts]
            answers = [text[len(chat) :] for text, chat in zip(texts, chats, strict=True)]
            texts = chats
        inputs = chat_inputs(self.processor, texts, [[image] for image in images], answers=answers)
        if not inputs["attention_mask"][:, 0].all():
            raise ArtQuantError(
                f"{type(self.processor).__name__} pads on the left whatever it is told, so that scores could not be "
                "read; use a processor that knows padding_side"
            )
        return inputs

    @property
    def chats(self) -> tuple[str, str]:
        """The prompts of a score request and of a description, up to the answer."""
        return self._chat, self._describe_chat

    def _render(self, question: str) -> tuple[str, str, str]:
        """The prompt of a question, what the template puts before an answer to it, and what ends the answer."""
        parts = [{"type": "image"}, {"type": "text", "text": question}]
        user = {"role": "user", "content": parts if self.spec.image_first else parts[::-1]}
        prompt = render_chat(self.processor, [user], add_generation_prompt=True)
        if not self.spec.image_first:
            first = render_chat(self.processor, [{"role": "user", "content": parts}], add_generation_prompt=True)
            if prompt == first:
                raise ArtQuantError("the chat template puts the image first, always; set prompt.image_first: true")
        if self.processor.chat_template is None:
            return prompt, "", self.processor.tokenizer.eos_token
        assistant = {"role": "assistant", "content": [{"type": "text", "text": _MARK}]}
        whole = render_chat(self.processor, [user, assistant], add_generation_prompt=False)
        before, mark, end = whole.partition(_MARK)
        if not mark:
            raise ArtQuantError("the chat template does not show the assistant's turn; use another template")
        # Templates that write "ASSISTANT: " before an answer end the prompt with "ASSISTANT:"; the space is the
        # answer's. Where the history's form is another one than the prompt's, the prompt's holds.
        lead = before[len(prompt) :] if before.startswith(prompt) else ""
        if (prompt + lead).rstrip().endswith(_THOUGHTS):
            lead += f"\n{_THOUGHTS.replace('<', '</')}\n\n"  # the template always opens thoughts: they stay empty
        return prompt, lead, self._closed(end)

    def _closed(self, end: str) -> str:
        """What ends an answer: the template's end where it has a token for it, else the tokenizer's own."""
        tokenizer = self.processor.tokenizer
        tokens = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
        if any(token in end for token in tokens if token.strip()):
            return end
        return (end if end.strip() else "") + (tokenizer.eos_token or "")

    def _count_appended(self) -> int:
        """How many ids the tokenizer puts behind every text: 1 where it is set to add an end token, else 0."""
        if takes_answers_apart(self.processor):
            return 0
        tokenizer, special = self.processor.tokenizer, adds_special_tokens(self.processor, self._chat)
        ids = tokenizer(self._chat, add_special_tokens=special)["input_ids"]
        plain = tokenizer(self._chat, add_special_tokens=False)["input_ids"]
        return int(ids[-1] == tokenizer.eos_token_id and ids[-len(plain) :] != plain)

    def _before_end(self, answer: str) -> tuple[int, ...]:
        """Ids of the beginning of a score answer."""
        ids = self._tail(self._chat, answer)
        return ids[: len(ids) - self._appended]

    def _tail(self, prompt: str, answer: str) -> tuple[int, ...]:
        """Token ids that `answer` adds to `prompt`, with those that the tokenizer appends to every text."""
        tokenizer = self.processor.tokenizer
        if takes_answers_apart(self.processor):
            return tuple(tokenizer(answer, add_special_tokens=False)["input_ids"])
        special = adds_special_tokens(self.processor, prompt)
        whole = tokenizer(prompt + answer, add_special_tokens=special)["input_ids"]
        head = tokenizer(prompt, add_special_tokens=special)["input_ids"]
        head = head[: len(head) - self._appended]
        if whole[: len(head)] != head:
            raise ArtQuantError(
                "the tokenizer joins the end of the prompt with the answer; end the chat template's generation "
                "prompt with a special token, a line break or no space"
            )
        return tuple(whole[len(head) :])


def level_positions(attention_mask: Any, answers: Sequence[Answer]) -> Any:
    """Positions whose logits predict the level token.

    Args:
        attention_mask: torch tensor of shape (n, L), 1 for real tokens, which stand on the left.
        answers: n score answers that end the n rows.

    Returns:
        Torch tensor of shape (n,).

    Example:
        >>> import torch
        >>> answer = Answer(text="", ids=(7, 8, 9, 2), level=2)
        >>> level_positions(torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]), [answer, answer])
        tensor([2, 3])
    """
    behind = [len(answer.ids) - answer.level + 1 for answer in answers if answer.level is not None]
    lengths = attention_mask.sum(dim=1)
    return lengths - lengths.new_tensor(behind)


def until_level(inputs: dict[str, Any], positions: Any) -> dict[str, Any]:
    """The inputs without the columns behind the last position that is read.

    Args:
        inputs: a batch with input_ids of shape (n, L); what else has a value for each of its tokens, such as
            token types or the mask of a cross-attention, is cut alike.
        positions: shape (n,), as `level_positions` gives.
    """
    shape = inputs["input_ids"].shape
    end = int(positions.max()) + 1
    return {
        name: value[:, :end] if getattr(value, "shape", ())[:2] == shape and not name.startswith(_OF_IMAGES) else value
        for name, value in inputs.items()
    }


def _first_difference(
    names: Sequence[str], tails: Sequence[tuple[int, ...]], start: int
) -> tuple[int, tuple[int, ...]]:
    """Where the answers part, and the token of each level there.

    Args:
        names: K level words.
        tails: K answers up to and including the level word, as ids.
        start: number of ids of the answer before the level word.

    Returns:
        Index into the tails and the K ids at it, all different.

    Raises:
        ArtQuantError: at the first id in which any two differ, some two are still alike.
    """
    for index in range(start, min(map(len, tails))):
        ids = tuple(tail[index] for tail in tails)
        if len(set(ids)) == len(ids):
            return index, ids
        if len(set(ids)) > 1:
            break
    clashing = ", ".join(f"{name}={list(tail[start:])}" for name, tail in zip(names, tails, strict=True))
    raise ArtQuantError(
        f"the tokenizer does not tell the level words apart by one token ({clashing}); choose other level words"
    )
