"""Token ids of prompts and answers, and the position whose logits decide the level.

Training and scoring both build their ids here, so that the token that is scored is the token that was trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import one_line
from artquant_plugin.prompting.attributes import AttributeSpec
from artquant_plugin.prompting.chat import adds_special_tokens, chat_inputs, render_chat, takes_answer_as_suffix
from artquant_plugin.prompting.levels import ANSWER_PREFIX, LevelScale
from artquant_plugin.prompting.questions import DESCRIBE_QUESTION, SCORE_QUESTION
from artquant_plugin.prompting.texts import LONGEST_PREFIX, LONGEST_QUESTION, check_text

_PLACEHOLDER = "\u2063answer\u2063"  # stands for an answer while a template is rendered; no template writes it
_OF_IMAGES = ("pixel", "image")  # the names of a processor's inputs that belong to images begin with these
_THOUGHTS = "<think>"  # opens the thoughts of a reasoning model
_SHOWN = 60  # characters of a wrong value that a message shows


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """What a model is asked, and how its answer begins; part of a checkpoint's scoring file.

    Args:
        question: the user's words in a request for a score; at most 20,000 characters, line breaks are allowed.
        describe_question: the user's words in a request for a description, with the same limits.
        answer_prefix: the assistant's words before the level word, without the space between the two; one line of at
            most 1,000 characters, which may be empty.
        image_first: whether the image stands before the question in the user's turn.

    Raises:
        ArtQuantError: a text is no text, is empty or too long, or holds control characters; or `image_first` is
            neither True nor False.
    """

    question: str = SCORE_QUESTION
    describe_question: str = DESCRIBE_QUESTION
    answer_prefix: str = ANSWER_PREFIX
    image_first: bool = True

    def __post_init__(self) -> None:
        for name in ("question", "describe_question"):
            check_text(getattr(self, name), f"prompt.{name}", LONGEST_QUESTION, line_breaks=True)
        check_text(self.answer_prefix, "prompt.answer_prefix", LONGEST_PREFIX, empty=True)
        if not isinstance(self.image_first, bool):
            given = one_line(repr(self.image_first), _SHOWN)
            raise ArtQuantError(f"prompt.image_first is {given}; it must be true or false")


@dataclass(frozen=True, slots=True)
class Answer:
    """An assistant's turn as text and token ids.

    Args:
        text: the whole conversation up to the end of the answer, as the processor takes it with one image.
        ids: the token ids of the answer alone, its end of turn included; the ids of `text` end with them.
        level: index in `ids` of the token that decides the level; None for the answer of a description.
    """

    text: str
    ids: tuple[int, ...]
    level: int | None = None


@dataclass(frozen=True, slots=True)
class _Turn:
    """A score question as it is rendered, and where the level stands in its answer.

    Args:
        chat: the prompt up to the answer.
        lead: what the template puts before an answer.
        end: what the template puts behind an answer.
        prefix: the assistant's words before the level word.
        level: index in the answer's ids of the token that decides the level.
    """

    chat: str
    lead: str
    end: str
    prefix: str
    level: int = 0


class Prompter:
    """Builds the prompts and answers of one processor.

    A question about an attribute stands behind the image. What stands before it, the image included, is the beginning
    of the score request as well, so that a model need compute it once: with `image_first` nothing but the template's
    own words, else the score question.

    Args:
        processor: a `transformers` processor with a tokenizer and a chat template. One that takes the answer as a
            suffix (PaliGemma) needs no template.
        spec: the questions, the answer prefix and the order of image and question.
        scale: the level words, one of which follows the answer prefix.
        attributes: the attributes that are asked for beside the score, whose answers have the same level words.

    Raises:
        ArtQuantError: the processor has no chat template, the template does not show an answer or the order of image
            and question, or the tokenizer does not tell the level words apart by one token.
    """

    def __init__(
        self, processor: Any, spec: PromptSpec, scale: LevelScale, attributes: Sequence[AttributeSpec] = ()
    ) -> None:
        self.processor = processor
        self.spec = spec
        self.scale = scale
        self.attributes = tuple(attributes)
        text, image = {"type": "text", "text": spec.question}, {"type": "image"}
        turn = _Turn(*self._render(self._ordered(text)), spec.answer_prefix)
        self._describe_chat, _, _ = self._render(self._ordered({"type": "text", "text": spec.describe_question}))
        self._appended = self._count_appended(turn.chat)
        self._turns: dict[str | None, _Turn] = {}
        self._turns[None], self.level_ids = self._with_level(turn)
        for attribute in self.attributes:
            before = [image] if spec.image_first else [text, image]
            rendered = self._render([*before, {"type": "text", "text": attribute.question}])
            turn, level_ids = self._with_level(_Turn(*rendered, attribute.answer_prefix))
            if level_ids != self.level_ids:
                raise ArtQuantError(
                    f"the tokenizer splits the level words otherwise behind {attribute.answer_prefix!r} than behind "
                    f"{spec.answer_prefix!r}; choose another answer prefix for attribute {attribute.name!r}"
                )
            self._turns[attribute.name] = turn

    def score_answer(self, level: int, attribute: str | None = None) -> Answer:
        """The answer that names a level: "The quality of the painting is good." and the end of the turn.

        Args:
            level: the level's index in the scale's names, 0 for the best.
            attribute: the name of the attribute that is asked for; None for the score of the whole painting.

        Raises:
            ArtQuantError: the tokenizer splits the level word otherwise when a full stop follows.
        """
        turn = self._turns[attribute]
        answer = f"{turn.lead}{turn.prefix} {self.scale.names[level]}.{turn.end}"
        ids = self._tail(turn.chat, answer)
        if ids[turn.level] != self.level_ids[level]:
            raise ArtQuantError(
                f"the tokenizer splits {self.scale.names[level]!r} differently before a full stop, so that its "
                "score could not be read; choose other level words"
            )
        return Answer(text=turn.chat + answer, ids=ids, level=turn.level)

    def describe_answer(self, description: str) -> Answer:
        """The answer that gives a description, with the end of the turn."""
        turn = self._turns[None]
        answer = turn.lead + description + turn.end
        return Answer(text=self._describe_chat + answer, ids=self._tail(self._describe_chat, answer))

    @property
    def score_request(self) -> Answer:
        """The answer that is fed to a model to read a score.

        Its level word is an arbitrary one, since it stands behind the position that is read: a causal model does not
        see it there, and `until_level` cuts it off. The answers of all levels share the ids before it.
        """
        return self.score_answer(0)

    def attribute_request(self, attribute: str) -> Answer:
        """The answer that is fed to a model to read the score of an attribute, as `score_request` describes it.

        Args:
            attribute: the name of one of the attributes.
        """
        return self.score_answer(0, attribute)

    @property
    def describe_text(self) -> str:
        """The prompt, up to the assistant's turn, after which a description is generated."""
        return self._describe_chat

    def inputs(self, texts: Sequence[str], images: Sequence[Any]) -> dict[str, Any]:
        """Turn a batch of conversations into model inputs, padded on the right.

        Args:
            texts: n conversations as in `Answer.text`, each with one image.
            images: n RGB images (PIL), one per text, in the same order.

        Returns:
            The processor's output: input_ids and attention_mask of shape (n, L), pixel_values and whatever else the
            model takes.

        Raises:
            ArtQuantError: the processor refuses the texts, or pads on the left.
        """
        answers = None
        if takes_answer_as_suffix(self.processor):
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
    def chats(self) -> tuple[str, ...]:
        """The prompts of all requests, each up to the answer: the score, the description, and each attribute."""
        return self._turns[None].chat, self._describe_chat, *(self._turns[each.name].chat for each in self.attributes)

    def _ordered(self, text: dict[str, str]) -> list[dict[str, str]]:
        """A user's turn of an image and a text, in the order that the spec says."""
        image = {"type": "image"}
        return [image, text] if self.spec.image_first else [text, image]

    def _with_level(self, turn: _Turn) -> tuple[_Turn, tuple[int, ...]]:
        """A turn with the index of the token that decides the level, and the K ids that stand there."""
        prefix = turn.lead + turn.prefix
        tails = [self._before_end(turn.chat, f"{prefix} {name}") for name in self.scale.names]
        index, ids = _first_difference(self.scale.names, tails, len(self._before_end(turn.chat, prefix)))
        return replace(turn, level=index), ids

    def _render(self, parts: list[dict[str, str]]) -> tuple[str, str, str]:
        """Render a user's turn: the prompt, what the template puts before an answer, and what ends the answer."""
        user = {"role": "user", "content": parts}
        prompt = render_chat(self.processor, [user], add_generation_prompt=True)
        if len(parts) == 2 and not self.spec.image_first:
            swapped = {"role": "user", "content": parts[::-1]}
            if prompt == render_chat(self.processor, [swapped], add_generation_prompt=True):
                raise ArtQuantError("the chat template puts the image first, always; set prompt.image_first: true")
        if self.processor.chat_template is None:
            return prompt, "", self.processor.tokenizer.eos_token
        assistant = {"role": "assistant", "content": [{"type": "text", "text": _PLACEHOLDER}]}
        whole = render_chat(self.processor, [user, assistant], add_generation_prompt=False)
        before, placeholder, end = whole.partition(_PLACEHOLDER)
        if not placeholder:
            raise ArtQuantError("the chat template does not show the assistant's turn; use another template")
        # Templates that write "ASSISTANT: " before an answer end the prompt with "ASSISTANT:", and the space is the
        # answer's. Where a template renders past turns otherwise than the prompt, the prompt counts.
        lead = before[len(prompt) :] if before.startswith(prompt) else ""
        if (prompt + lead).rstrip().endswith(_THOUGHTS):
            lead += f"\n{_THOUGHTS.replace('<', '</')}\n\n"  # the template always opens thoughts: they stay empty
        return prompt, lead, self._end_of_turn(end)

    def _end_of_turn(self, end: str) -> str:
        """What ends an answer: the template's ending where that contains a token for it, else the tokenizer's own."""
        tokenizer = self.processor.tokenizer
        tokens = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
        if any(token in end for token in tokens if token.strip()):
            return end
        return (end if end.strip() else "") + (tokenizer.eos_token or "")

    def _count_appended(self, chat: str) -> int:
        """How many ids the tokenizer appends to every text: 1 where it is set to add an end token, else 0."""
        if takes_answer_as_suffix(self.processor):
            return 0
        tokenizer, special = self.processor.tokenizer, adds_special_tokens(self.processor, chat)
        ids = tokenizer(chat, add_special_tokens=special)["input_ids"]
        plain = tokenizer(chat, add_special_tokens=False)["input_ids"]
        return int(ids[-1] == tokenizer.eos_token_id and ids[-len(plain) :] != plain)

    def _before_end(self, chat: str, answer: str) -> tuple[int, ...]:
        """Token ids of an unfinished score answer, without the end token that the tokenizer may append."""
        ids = self._tail(chat, answer)
        return ids[: len(ids) - self._appended]

    def _tail(self, prompt: str, answer: str) -> tuple[int, ...]:
        """Token ids that an answer adds to a prompt, with the end token that the tokenizer may append."""
        tokenizer = self.processor.tokenizer
        if takes_answer_as_suffix(self.processor):
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
    """The position in each row whose logits predict the token that decides the level.

    Args:
        attention_mask: torch tensor of shape (n, L), 1 for tokens and 0 for the padding, which is on the right.
        answers: n score answers; each ends the row of the same index.

    Returns:
        Torch tensor of positions, shape (n,), each in [0, L).

    Example:
        >>> import torch
        >>> answer = Answer(text="", ids=(7, 8, 9, 2), level=2)
        >>> level_positions(torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]), [answer, answer])
        tensor([2, 3])
    """
    # The logits at a position predict the next token, hence one more than the distance of the level's own token.
    from_end = [len(answer.ids) - answer.level + 1 for answer in answers if answer.level is not None]
    lengths = attention_mask.sum(dim=1)
    return lengths - lengths.new_tensor(from_end)


def until_level(inputs: dict[str, Any], positions: Any) -> dict[str, Any]:
    """Cut off the columns behind the last position that is read, so that the model does not compute them.

    Args:
        inputs: model inputs with input_ids of shape (n, L). Other inputs with a value for each token, such as token
            types or the mask of a cross-attention, are cut in the same way; those of images stay whole.
        positions: the positions that are read, shape (n,), as `level_positions` returns them.

    Returns:
        The inputs with L reduced to the largest position plus 1.
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
    """Find the token at which the answers of all levels differ.

    Args:
        names: the K level words, for the error message.
        tails: K answers up to and including the level word, as token ids.
        start: how many ids the answer has before the level word; these are shared by all K.

    Returns:
        An index into the answers, and the K ids at that index, no two of which are equal.

    Raises:
        ArtQuantError: at the first index at which any two answers differ, another two are still alike.
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
