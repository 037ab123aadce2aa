"""Reads a reply: tries the forms in which a reply may hold a score, in one fixed order."""

from collections.abc import Mapping

from artquant_plugin.common.text import one_line
from artquant_plugin.replies.json_scores import read_object
from artquant_plugin.replies.level_words import read_level
from artquant_plugin.replies.prose import read_prose
from artquant_plugin.replies.refusals import refuses, sees_no_painting
from artquant_plugin.replies.reply import DETAIL_WIDTH, ParsedReply
from artquant_plugin.replies.text import first_answer, plain, request_failed, without_struck_out

# In characters. Thinking and answer about one painting are far shorter; the limits bound the time that reading takes.
LONGEST_REPLY, LONGEST_ANSWER = 500_000, 30_000


def parse_reply(
    text: str | None, *, score_range: tuple[float, float], level_values: Mapping[str, float]
) -> ParsedReply:
    """The score that a reply gives, or the reason why it gives none.

    The forms are tried in this order, and the first one that the reply has decides: lmms-eval's texts about failures;
    JSON with a ``score``, also inside prose or a code fence; the number that prose tells as the score
    ("Score: 7.5/10", "rating = 68 out of 100", "评分：7.5"), converted when it names another scale than the dataset's;
    a level word that stands as the answer. Of several scores the one that is called final or corrects the others
    counts. What a model thought before its answer is not read, nor are turns that it made up behind its answer.

    Args:
        text: the reply; None where an endpoint answered without content, which counts as an empty reply.
        score_range: lowest and highest score of the dataset.
        level_values: the score of each level word, in `score_range`; empty where no level word counts as an answer.

    Returns:
        A score in `score_range`, its ends included, or a reason.

    Example:
        >>> parse_reply('{"score": 6.5}', score_range=(0, 10), level_values={}).score
        6.5
        >>> parse_reply("[LMMS_EVAL_REQUEST_FAILED after 5 retries]", score_range=(0, 10), level_values={}).reason
        'failed_request'
        >>> parse_reply("I give it a rating of 68 out of 100.", score_range=(0, 10), level_values={}).score
        6.8
    """
    if not text:
        return ParsedReply(reason="empty")
    if request_failed(text):
        return ParsedReply(reason="failed_request", detail=one_line(text, DETAIL_WIDTH))
    if len(text) > LONGEST_REPLY:
        return _too_long("a reply", text, LONGEST_REPLY)
    answer = first_answer(text)
    if not answer:
        return ParsedReply(reason="empty")
    if len(answer) > LONGEST_ANSWER:
        return _too_long("an answer", answer, LONGEST_ANSWER)
    if sees_no_painting(answer):
        return ParsedReply(reason="refusal", detail=one_line(answer, DETAIL_WIDTH))
    reply, answer = read_object(without_struck_out(answer), score_range, level_values)
    if reply is None:
        answer = plain(answer)
        reply = read_prose(answer, score_range)
    if reply is None and not refuses(answer):
        reply = read_level(answer, score_range, level_values)
    if reply is not None:
        return reply
    return ParsedReply(reason="refusal" if refuses(answer) else "no_number", detail=one_line(answer, DETAIL_WIDTH))


def _too_long(what: str, text: str, most: int) -> ParsedReply:
    return ParsedReply(
        reason="malformed", detail=f"{what} of {len(text):,} characters is not read; {most:,} are the most"
    )
