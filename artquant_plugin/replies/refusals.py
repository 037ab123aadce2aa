"""The phrases with which models say that they cannot or will not do what was asked, as one table.

A phrase names the reason why a reply could not be used. It never takes away a score or a description that is there.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """The phrases of one language, or of one group of languages.

    Args:
        name: what the phrases have in common.
        pattern: a regular expression for any of the phrases; case does not count.
        examples: texts that refuse; the tests check that each does.
        counterexamples: texts with similar words that do not refuse; the tests check these as well.
        opening_only: whether the phrase refuses only as the first words of a text. "Sorry" inside a description may
            be what a painted figure feels.
    """

    name: str
    pattern: re.Pattern[str]
    examples: tuple[str, ...]
    counterexamples: tuple[str, ...] = ()
    opening_only: bool = False


REFUSALS = (
    Refusal(
        "English",
        re.compile(
            r"\b(?:can(?:not|'t| ?not)|could ?n[o']t|(?:am|'m|is|are) (?:not able|unable)|unable to|won't|will not"
            r"|refuse to|as an ai|not (?:able|possible|appropriate)|i(?:'m| am) sorry|i apologi[sz]e"
            r"|do(?:n't| not) (?:have|see|feel)|(?:no|without an?) image)\b",
            re.IGNORECASE,
        ),
        ("I can’t assist with that.", "As an AI, I have no taste.", "There is no image.", "I'm unable to judge it."),
        ("The artist can paint.", "An image of the sea.", "It is possible that he saw it."),
    ),
    Refusal(
        "English, at the beginning of a text",
        re.compile(r"(?:i ?m )?sorry\b|unfortunately\b", re.IGNORECASE),
        ("Sorry, that is nudity.", "Unfortunately, this picture has been blocked.", "Im sorry."),
        ("A sorry figure by the door.", "The light is unfortunately flat."),
        opening_only=True,
    ),
    Refusal(
        "Chinese",
        re.compile(r"无法|無法|不能|抱歉|对不起|對不起|没有看到|没有提供|不便"),
        ("抱歉，我无法为这幅画评分。",),
        ("这幅画的评分是7分。",),
    ),
    Refusal(
        "Japanese and Korean",
        re.compile(r"申し訳|できません|でき兼ね|できかね|죄송|할 수 없|없습니다|불가능"),
        ("申し訳ありませんが、評価できません。", "죄송하지만 평가할 수 없습니다."),
        ("評価は7点です。", "점수는 7점입니다."),
    ),
    Refusal(
        "German",
        re.compile(
            r"\b(?:tut mir leid|leider|kann ich (?:\w+ ){0,4}nicht|ich kann (?:\w+ ){0,6}(?:nicht|keine?))\b",
            re.IGNORECASE,
        ),
        ("Das kann ich nicht beurteilen.", "Ich kann dem Bild keine Note geben."),
        ("Ich kann es sehen.",),
    ),
    Refusal(
        "Romance languages",
        re.compile(
            r"\b(?:désolée?|je ne (?:peux|suis|vois)|lo siento|no (?:puedo|es posible)|desculpe|não (?:posso|consigo)"
            r"|sinto muito|mi dispiace|non (?:posso|è possibile|sono in grado))\b",
            re.IGNORECASE,
        ),
        (
            "Je ne peux pas noter cette œuvre.",
            "No puedo calificar esta imagen.",
            "Não posso avaliar esta imagem.",
            "Non posso valutare il dipinto.",
        ),
        ("Je peux la noter.", "Puedo calificarla."),
    ),
    Refusal(
        "further languages",
        re.compile(
            r"извините|не могу|к сожалению|невозможно|لا (?:أستطيع|يمكنني)|آسف|عذر|אינני|לא יכול"
            r"|üzgünüm|xin lỗi|ไม่สามารถ",
            re.IGNORECASE,
        ),
        ("К сожалению, я не могу оценить картину.", "لا أستطيع تقييم هذه اللوحة", "Xin lỗi!"),
        ("Я могу оценить картину.",),
    ),
)
# A model that says one of these phrases saw no painting, so that a score in the same reply is not the painting's.
UNSEEN = Refusal(
    "no painting was seen",
    re.compile(
        r"\bi(?:'m|'ve)?\b[^.!?\n]{0,30}\b(?:can(?:not|'t| not)|do(?:n't| not)|could(?:n't| not)"
        r"|unable to)\s+(?:actually\s+)?"
        r"(?:see|view|access|open|load|find)\s+(?:\w+\s+){0,3}(?:painting|image|picture|artwork|photo)s?\b"
        r"|\bwithout (?:seeing|viewing|access to)\s+(?:\w+\s+){0,2}(?:painting|image|picture|artwork|photo)s?\b"
        r"|\bno (?:painting|image|picture|artwork|photo) (?:was|is|has been|seems to be|appears to be) "
        r"(?:provided|attached|uploaded|given|included|visible|shared|shown)\b"
        r"|\b(?:painting|image|picture|artwork|photo) (?:was|is|has) (?:not|n't)(?: been)? "
        r"(?:provided|attached|uploaded|given|included|visible|shared|shown)\b",
        re.IGNORECASE,
    ),
    (
        "I cannot see the painting.",
        "I don't see any image.",
        "Without seeing the painting I can only guess.",
        "No image was provided.",
        "The image was not attached.",
    ),
    ("I see the painting.", "A man who cannot see the image of himself.", "The sea is not shown."),
)
_PUNCTUATION = re.compile(r"\A\W*")
_PRONOUN = re.compile(r"i\b ?", re.IGNORECASE)


def refuses(text: str) -> bool:
    """Whether a text says, anywhere in it, that the model cannot or will not do what was asked.

    Args:
        text: a reply, or a part of one. An empty text refuses nothing.

    Example:
        >>> refuses("It's a fair question, but I cannot rate paintings.")
        True
    """
    text = _plain_apostrophes(text)
    return any(refusal.pattern.search(text) for refusal in REFUSALS if not refusal.opening_only)


def sees_no_painting(text: str) -> bool:
    """Whether a text says that the model was shown no painting, or could not see it.

    Example:
        >>> sees_no_painting("I don't see an image, but here is a guess: 5"), sees_no_painting("I see an image.")
        (True, False)
    """
    return UNSEEN.pattern.search(_plain_apostrophes(text)) is not None


def opens_with_refusal(text: str) -> bool:
    """Whether a text begins with a refusal, except for punctuation and the word "I".

    For texts that describe a painting, in whose middle the same words say something about what is painted.

    Args:
        text: a reply. An empty text refuses nothing.

    Example:
        >>> opens_with_refusal("I cannot describe nudity.")
        True
        >>> opens_with_refusal("A man who cannot swim.")
        False
    """
    opening = _PUNCTUATION.sub("", _plain_apostrophes(text))
    behind_pronoun = _PRONOUN.match(opening)
    places = (0, behind_pronoun.end()) if behind_pronoun else (0,)
    return any(refusal.pattern.match(opening, place) for refusal in REFUSALS for place in places)


def _plain_apostrophes(text: str) -> str:
    return text.replace("’", "'")
