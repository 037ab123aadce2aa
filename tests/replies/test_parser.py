"""Replies as models write them, in many languages, against what a reader takes them to say."""

import json

import pytest

from artquant_plugin.replies import parse_reply

LEVELS = {"excellent": 10.0, "good": 7.5, "fair": 5.0, "poor": 3.5, "bad": 1.0}


def read(text: str | None, low: float = 0, high: float = 10):
    return parse_reply(text, score_range=(low, high), level_values=LEVELS)


JSON = {
    '{"score": 6.83, "levels": {"excellent": 0.12}}': 6.83,
    'Sure! ```json\n{"score": 7}\n``` Hope this helps.': 7,
    'Perception: warm reds, 3 figures.\nEmotion: calm.\n{"score": 6.5}': 6.5,
    '{"score": "7.5"}': 7.5,
    '{"score": "7,5"}': 7.5,
    '{"score": "8/10"}': 8,
    '{"score": "68 out of 100"}': 6.8,
    '{"score": "7-8"}': 7.5,
    '{"Score": 7}': 7,
    '{"notes": {"a": 1}, "score": 3}': 3,
    '{"perception": {"score": 8}, "emotion": {"score": 6}, "score": 7}': 7,
    '{"result": {"score": 7}}': 7,
    '[{"score": 7}]': 7,
    '{"score": 2} no, {"score": 4}': 4,
    '{"score": "good"}': 7.5,
    '<think>{"score": 1}</think>{"score": 9}': 9,
    "Score: 3\n{“score”: 4}": 4,  # typographic quotes: no JSON, but the last label
    # What is no JSON is read by its label.
    "{'score': 7}": 7,
    "{score: 7}": 7,
    '```json\n{"score": 7,}\n```': 7,
    '{"score": 7.5, "reason": "the col': 7.5,
    '{"rating": 7}': 7,
}

ENGLISH = {
    "Score: 7.5/10": 7.5,
    "**Score:** 7": 7,
    "**Score**: **7.2** / **10**": 7.2,
    "### Score\n7.5": 7.5,
    "__Overall Rating:__ 8.5/10\n\n**Strengths:** 3 warm colours": 8.5,
    "| Score | 7 |": 7,
    "<score>7</score>": 7,
    "<answer>7.5</answer>": 7.5,
    "The final answer is $\\boxed{7.5}$.": 7.5,
    "Rating = 68 out of 100": 6.8,
    "Score: 75%": 7.5,
    "I'm 90% sure. Score: 7": 7,
    "Score: 7–8": 7.5,
    "Score: 7 to 8": 7.5,
    "Score: between 7 and 8": 7.5,
    "Score: 3-4/10": 3.5,
    "Score: 7½": 7.5,
    "Score: ~7": 7,
    "Score — 7": 7,
    "Score 7/10": 7,
    "Score: 7.": 7,
    "Score: 0": 0,
    "Score: 10": 10,
    "First score: 3. Final score: 4.": 4,
    "8/10 for composition, 6/10 for color. Overall: 7/10": 7,
    "Perception: 8/10\nCognition: 7/10\nEmotion: 9/10\n\nOverall score: 8/10": 8,
    "Score: 7/10 (confidence score: 90%)": 7,
    "Confidence: 0.9\nScore: 6": 6,
    "Score (1-10): 7": 7,
    "Score (0-100): 68": 6.8,
    "Rating on a 1–10 scale: 7": 7,
    "Rate 1-10: 7": 7,
    "Score out of 10: 7": 7,
    "Score: 7 on a scale of 0 to 10": 7,
    "Score: 70 (out of 100)": 7,
    "On a scale of 1 to 10, I'd give 7": 7,
    "On a scale of 1 to 10, I'd give this painting a 7.": 7,
    "On a scale of 1 to 5, I would rate it 3.": 5,  # half way between both ends
    "4 out of 5 stars. Rating: 4/5": 8,
    "Rating: ★★★★☆ (4/5)": 8,
    "I would rate this painting a 7.5 out of 10.": 7.5,
    "Overall, I would give this artwork a solid 8.": 8,
    "As an AI, I don't have personal opinions, but I'd rate it 7/10.": 7,
    "If I had to give a score, it would be around 6": 6,
    "My rating for this painting is 7.": 7,
    "The score I would give this painting is 6.": 6,
    "Painted 10/10/1889, score: 6": 6,
    "Score: 7. The rating reflects a 19th-century work of 3 figures.": 7,
    "| Aspect | Score |\n|---|---|\n| Colour | 7 |\n| **Overall** | **7.5** |": 7.5,
    "I rate it 6, though critics rated it 9.": 6,
    "My score: 6. Other people might give it a 9.": 6,
    "Most people would give it a 7.": 7,  # which is what was asked
    "I'd give it a 7 for its strong composition.": 7,
    "7.5 (good)": 7.5,
    "The motif score: 7": 7,
    "<think>score: 1</think>Score: 9": 9,
    "it may be a 3 </think>\nScore: 7": 7,  # the template opened the block
    "◁think▷score: 1◁/think▷Score: 9": 9,
    "<|channel|>analysis<|message|>score: 1<|channel|>final<|message|>Score: 9": 9,
    # What comes out of a sum, not its first term.
    "Final score: (8+7)/2 = 7.5": 7.5,
    "Overall score = (8 + 7 + 8) / 3 ≈ 7.67": 7.67,
    "Weighted score: 0.3*8 + 0.7*6 = 6.6": 6.6,
    "Score: 7 + 0.5 = 7.5": 7.5,
    # What another painting, or another model, would have is not this one's.
    "Score: 7. If the colours were better, I'd give it a 9.": 7,
    "Final score: 6.5. I would score it 8 if the drawing were stronger.": 6.5,
    "Score: 6\nTo reach a score of 8, the artist would need more contrast.": 6,
    "My rating is 7. A rating of 10 is reserved for masterpieces.": 7,
    "Score: 6 (I considered giving it a 7)": 6,
    "{'score': 7, 'explanation': 'a score of 9 would be too high'}": 7,
    "Score: 8\nThe maximum score is 10.": 8,
    "Score: 8\nTotal possible points: 10": 8,
    "Score: 7\nEmotional impact score: 9": 7,
    "Score: 7\nVisual appeal score: 9": 7,
    "Score: 7\nHistorical significance rating: 9/10": 7,
    "Score: 7\nImage quality: 9/10": 7,
    "Score: 7 1/2": 7.5,
    "Score: 7 and a half": 7.5,
    "Score: 80 percent": 8,
    "I would give this a score of seven out of 10.": 7,  # the 10 is the scale's
    "Score: seven": 7,
    # A number alone, as the question's own label counts.
    "7": 7,
    " **7.5** \n": 7.5,
    "8/10.": 8,
    "7/10\n\nThe colours are warm.": 7,
    "7/10 — lovely colours": 7,
}

OTHERS = {
    "评分：7.5": 7.5,
    "我给这幅画打7分。": 7,
    "我会给这幅画打8.5分（满分10分）。": 8.5,
    "综合得分为7.5分（满分10分）": 7.5,
    "满分10分，我给7分": 7,
    "總分：7.8/10 分": 7.8,
    "スコア：７．５": 7.5,
    "この絵の評価は10点満点中8点です": 8,
    "評価：7点（10点満点）": 7,
    "この作品は10点中7点": 7,
    "これは7.5点です": 7.5,
    "점수: 7.5점": 7.5,
    "평점은 10점 만점에 8점": 8,
    "이 그림에 8점을 주겠습니다.": 8,
    "Gesamtbewertung: 7,5/10": 7.5,
    "Ich gebe dem Bild 8 von 10 Punkten.": 8,
    "Ich gebe dem Bild eine Bewertung von 8.": 8,
    "Note : 7,5/10": 7.5,
    "Note globale : 7/10": 7,
    "Je donnerais une note de 7/10.": 7,
    "Puntuación: 8,5 de 10": 8.5,
    "Le daría un 7.": 7,
    "Pontuação: 7 de 10": 7,
    "Eu daria uma nota 8 para esta pintura.": 8,
    "Punteggio: 7,5 su 10": 7.5,
    "Darei un voto di 7,5.": 7.5,
    "Оценка: 8 из 10": 8,
    "Я бы дал 7/10.": 7,
    "Я бы поставил этой картине 7 из 10.": 7,
    "التقييم: ٧٫٥/١٠": 7.5,
    "أعطي هذه اللوحة درجة ٨ من ١٠": 8,
    "स्कोर: 7": 7,
    "Puan: 8/10": 8,
    "Điểm: 7,5/10": 7.5,
    "Ocena: 7/10": 7,
    "Cijfer: 8": 8,
}

WORDS = {
    "Excellent": 10,
    "**Good.**": 7.5,
    "Good. The light is warm.": 7.5,
    "The composition is busy, the light is flat.\n\nFair": 5,
    "The quality of the painting is good.": 7.5,
    "I would rate the quality of this painting as fair.": 5,
    "The painting is of excellent quality.": 10,
    "Level: **Good**": 7.5,
    '{"level": "poor"}': 3.5,
}

UNSCORED = {
    None: "empty",
    "": "empty",
    "   \n": "empty",
    "<think>it may be an 8": "empty",
    "<think>score: 8</think>": "empty",
    "[LMMS_EVAL_REQUEST_FAILED after 5 retries] timeout": "failed_request",
    "[LMMS_EVAL_REQUEST_FAILED after 5 retries] Score: 7": "failed_request",
    "[LMMS_EVAL_BUDGET_EXCEEDED]": "failed_request",
    'Error: can only concatenate str (not "NoneType") to str': "failed_request",
    '{"score": null, "reason": "image broken"}': "unscored",
    "I cannot rate this image.": "refusal",
    "I'm sorry, but I can’t assist with that.": "refusal",
    "It's a fair question, but I cannot rate paintings.": "refusal",
    "I cannot give a score of 7 or 8.": "refusal",
    "抱歉，我无法为这幅画评分。": "refusal",
    "申し訳ありませんが、評価できません。": "refusal",
    "죄송하지만 평가할 수 없습니다.": "refusal",
    "Es tut mir leid, das kann ich nicht beurteilen.": "refusal",
    "Je suis désolé, je ne peux pas noter cette œuvre.": "refusal",
    "Lo siento, no puedo calificar esta imagen.": "refusal",
    "Desculpe, não posso avaliar esta imagem.": "refusal",
    "Mi dispiace, non posso valutare il dipinto.": "refusal",
    "К сожалению, я не могу оценить картину.": "refusal",
    "لا أستطيع تقييم هذه اللوحة": "refusal",
    '{"score": 11}': "out_of_range",
    '{"score": -1}': "out_of_range",
    "Score: 68": "out_of_range",
    "Score: 11": "out_of_range",
    "Score: 11/10": "out_of_range",
    "Score: -1": "out_of_range",
    "Score: −1": "out_of_range",
    '{"score": true}': "malformed",
    '{"score": [5]}': "malformed",
    '{"score": "N/A"}': "malformed",
    '{"score": NaN}': "malformed",
    '{"score": 1e999}': "malformed",
    '{"score": ' + "9" * 400 + "}": "malformed",
    '{"score": 6': "malformed",  # cut off: it may have been 6.5
    '{"score": 7.': "malformed",
    "Score: 1,000": "malformed",
    '{"a": {"score": 7}, "b": {"score": 3}}': "ambiguous",
    '[{"score": 7}, {"score": 3}]': "ambiguous",  # of two aspects, or of two paintings
    "Composition score: 8, colour score: 6": "ambiguous",
    "I'd give the composition 8.": "ambiguous",
    "Score: 7/8": "ambiguous",  # seven of eight, or seven to eight
    "Score: 8-7": "ambiguous",
    "Rating: 4 stars": "ambiguous",
    "별점 4개": "ambiguous",
    "Scores: 7, 8, 6": "ambiguous",
    "The painting scores 7 in composition and 8 in colour.": "ambiguous",
    "Good colours but a poor drawing": "ambiguous",
    "This is not good": "ambiguous",
    "Excellent! I'd be happy to help rate this painting.": "ambiguous",
    "Perception: a good balance of warm reds. Cognition: the": "ambiguous",  # cut off
    "Score: 8 → 7": "ambiguous",
    "Score: 5 + 2": "ambiguous",
    "Key points: 3": "ambiguous",
    "It was painted in 1889.": "no_number",
    "The score is not 3 but 7.": "no_number",
    "I wouldn't rate it 9, more like a 6.": "no_number",
    "This painting deserves more than a 5.": "no_number",
    "The score for painting 3 is 8.": "no_number",
    "The score of this 3-part painting is high.": "no_number",
    "10/10 would hang in my room": "no_number",
    "8/10, with 6/10 for colour": "no_number",
    "Score: 1-10": "no_number",  # the scale once more
    "Give one score from 1 (worst) to 10 (best).": "no_number",
    "I'd give it at least 7": "no_number",
    "Score: 10/10/1889": "no_number",
    "Score: 7.5.3": "no_number",
    "Score: >7": "no_number",
    "Score: less than 5": "no_number",
    "Please send the painting. For example, Score: 7 would mean a good one.": "ambiguous",  # it has a level word
    "Score breakdown:\n- Composition: 8\n- Colour: 7\nAverage: 8": "no_number",
    "Note: 3 boats in the harbour": "no_number",
    "I give 2 reasons: colour and line.": "no_number",
    "The rating is based on 3 criteria": "no_number",
    "The score reflects a 19th-century work": "no_number",
    "My rating\n1. Composition\n2. Colour": "no_number",
}


@pytest.mark.parametrize(("text", "score"), [*JSON.items(), *ENGLISH.items(), *OTHERS.items(), *WORDS.items()])
def test_scores_in_the_forms_that_models_write(text, score):
    reply = read(text)
    assert reply.score == pytest.approx(score), reply
    assert reply.reason is None


@pytest.mark.parametrize(("text", "reason"), UNSCORED.items())
def test_what_is_no_score_has_a_reason(text, reason):
    reply = read(text)
    assert (reply.score, reply.reason) == (None, reason)


def test_the_form_is_told():
    assert {read(text).origin for text in OTHERS} == {"labelled"}
    assert {read(text).origin for text in WORDS} == {"level"}
    assert read('{"score": 7}').origin == "json"


@pytest.mark.parametrize(
    ("text", "low", "high", "score"),
    [
        ("score: 80 out of 100", 1, 10, 8),
        ("Score: 7/10", 0, 100, 70),
        ("Score (1-10): 7", 1, 10, 7),
        ("Score (1-5): 3", 1, 10, 5.5),
        ("On a scale of 1 to 10, I give it a score of 1", 0, 100, 0),
        ("Rating: 68/100", 0, 100, 68),
        ("Score: 85", 0, 100, 85),
        ("Score: 7/7", 0, 7, 7),
    ],
)
def test_another_scale_is_brought_to_the_datasets(text, low, high, score):
    assert read(text, low, high).score == pytest.approx(score)


def test_the_range_is_the_datasets():
    assert read("score: 0.5", 1, 10).reason == "out_of_range"
    assert read("Score: 5/100", 1, 10).reason == "out_of_range"
    assert read("bad", 2, 10).reason == "out_of_range"


def test_a_scale_without_extent_is_none():
    assert read("Score (10-10): 7", 0, 100).reason == "ambiguous"
    assert read("Score (20-10): 12", 0, 100).reason == "ambiguous"


def test_a_range_is_marked_and_levels_are_kept():
    assert read("Score: 7-8").from_range
    assert read("Score: 7–8 / 10").from_range
    assert not read("Score: 7").from_range
    assert read('{"score": 5, "levels": {"fair": 1.0}}').levels == {"fair": 1.0}
    assert read('{"score": null, "reason": "image broken"}').detail == "image broken"


def test_a_reply_may_say_which_weights_gave_it():
    checkpoint = {"name": "me/x", "revision": "abc", "weights": "def"}
    assert read(json.dumps({"score": 6.5, "checkpoint": checkpoint})).checkpoint == checkpoint
    assert read('{"score": 6.5, "checkpoint": "x"}').checkpoint is None
    assert read('{"score": 6.5}').checkpoint is None


def test_a_top_may_be_written_with_decimals():
    assert read("Score: 7.5/10.0").score == 7.5
    assert read("Score: 75/100.0").score == 7.5
    assert read("Score: 7.5/10.05").score is None


@pytest.mark.parametrize(
    "text",
    ['{"score": 7, "max_score": 100}', '{"score": 0.75, "scale": "0-1"}', '{"score": 4, "out_of": 5}'],
)
def test_an_object_that_names_another_scale_has_no_score(text):
    reply = read(text)
    assert (reply.score, reply.reason) == (None, "ambiguous")


@pytest.mark.parametrize(
    "text", ['{"score": 7, "scale": "0-10"}', '{"score": 7, "max": 10}', '{"score": 7, "scale": "linear"}']
)
def test_an_object_that_names_the_datasets_scale_is_read(text):
    assert read(text).score == 7
