"""The model's own first turn in a reply, without the tokens of the chat format.

A server or a decoder may leave special tokens in the text ("7.5<|im_end|>"), and a model that does not stop writes the
next user's turn and its own next answer as well. What it says there is about a painting that it has made up.
"""

import re

_USER_ROLES = r"user|human|prompter|system|observation|tool|ipython|environment|developer"
_MODEL_ROLES = r"assistant|model|bot|chatbot|gpt|ai"
# What opens the header of a turn in ChatML, Llama 3 and 4, Gemma, Granite, gpt-oss and Cohere's format.
_OPENING = (
    r"<\|?(?:im_start|start|turn|role_start|start_header_id|header_start|start_of_role|start_of_turn|sot)\|?>"
    r"|<\|START_OF_TURN_TOKEN\|>"
)


def _header(roles: str) -> str:
    """A pattern for the header of a turn in special tokens, for some roles."""
    token = rf"<[|｜]\s?(?:im_|begin_of_|start_of_)?(?:{roles})(?:_token)?\s?[|｜]>"
    return rf"(?:{_OPENING})\s*(?:{token}|(?:{roles})\b)|{token}"


# The markers of turns that are tokens of a chat format. What a user says may be in `[INST]`, too.
_TOKENS = re.compile(
    rf"(?P<user>\[INST\]|\[SYSTEM_PROMPT\]|<<SYS>>|<用户>|<(?:user|human)>|{_header(_USER_ROLES)})"
    rf"|(?P<model>\[/INST\]|<(?:AI|assistant|bot)>|{_header(_MODEL_ROLES)})"
    r"|(?P<end><\|(?:im_end|eot_id|eom_id|end|endoftext|end_of_text|return|call|eot|eos|eod|eom|end_of_turn|stop|turn_end"
    r"|endofturn|end_of_sentence|end_of_utterance|END_OF_TURN_TOKEN|EOT|end_of_role_turn)\|>"
    r"|<(?:eos|end_of_turn|end_of_utterance|end_of_text|endoftext|eot|eop|eoa|eod|end|stop|turn\|)>"
    r"|<｜(?:end▁of▁sentence|end_of_sentence|eot)｜>|\[(?:EOS|END|DONE|SEP|end of text|UNUSED_TOKEN_145)\]"
    r"|</s>)",
    re.IGNORECASE,
)

# The markers of turns that are words. A colon follows the word, or the word stands alone on its line.
_USER_WORDS = r"user|human|用户|人类|ユーザー|사용자|benutzer|utilisateur|usuario|usuário|utente|пользователь"
_MODEL_WORDS = r"assistant|助手|アシスタント|어시스턴트|assistent|asistente|ассистент"
_LINE = r"^[^\S\n]*(?:[#>*\[<]{1,6}[^\S\n]*)?"
_WORDS = re.compile(
    rf"(?P<user>{_LINE}(?:{_USER_WORDS})(?:[^\S\n]+\d+)?[*\]>]{{0,3}}[^\S\n]*(?:[:：]|$)"
    rf"|{_LINE}(?:question|q|问题|问|問)[*\]>]{{0,3}}[^\S\n]*[:：]"
    r"|^[^\S\n]*#{2,6}[^\S\n]*(?:instructions?|input|question|prompt|system|query)\b[^\S\n]*:?"
    rf"|#{{2,6}}[^\S\n]*(?:{_USER_WORDS}|instruction|question)[^\S\n]*:"
    r"|\b(?-i:USER|HUMAN)[^\S\n]*:)"
    rf"|(?P<model>{_LINE}(?:{_MODEL_WORDS})[*\]>]{{0,3}}[^\S\n]*(?:[:：]|$)"
    rf"|{_LINE}(?:answer|response|output|model|bot|ai|gpt|chatgpt|a|答案|答)[*\]>]{{0,3}}[^\S\n]*(?:[:：]|$)"
    r"|^[^\S\n]*#{2,6}[^\S\n]*(?:response|answer|output)\b[^\S\n]*:?"
    r"|\b(?-i:ASSISTANT)[^\S\n]*:)",
    re.IGNORECASE | re.MULTILINE,
)

# Special tokens that neither begin nor end a turn. Behind those of gpt-oss, the name of the channel is a word.
_NEUTRAL = re.compile(
    r"<\|channel\|>\s*final\s*(?:<\|constrain\|>\s*\w+\s*)?<\|message\|>|\b(?:user|assistant)<\|im_middle\|>"
    r"|</(?:user|human|assistant|bot|AI)>"
    r"|<\|[^|<>\n]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|<\|(?:turn|channel)>|<(?:turn|channel)\|>"
    r"|<(?:bos|pad|unk|sop|boa|image|image_soft_token|start_of_turn|start_of_image|end_of_image|0x0A)>"
    r"|\[(?:BOS|PAD|UNK|CLS|gMASK|UNUSED_TOKEN_\d+)\]|<(?:extra_id|reserved|unused|TOKENS_UNUSED)_?\d+>",
    re.IGNORECASE,
)
# "<s>" begins a text in Llama's format, and strikes words out in HTML.
_TEXT_BEGINS = re.compile(r"\A\s*(?:<s>\s*)+", re.IGNORECASE)
_STRUCK_OUT = re.compile(r"<s>[^<>\n]{1,200}</s>", re.IGNORECASE)
# "<s>8</s> 7.5": the 8 may be the first of two turns, or be struck out; `cut_at_tokens` then removes only the tags.
_TURN_OR_STRUCK_OUT = re.compile(r"\A\s*<s>[^<>\n]{1,200}</s>\s*[^<\s]", re.IGNORECASE)
# Byte-level vocabularies write blanks and line ends in this way.
_BYTES = str.maketrans({"Ġ": " ", "Ċ": "\n", "▁": " "})


def cut_at_tokens(text: str) -> str:
    r"""The model's first turn as far as tokens of a chat format mark it; tokens that divide nothing are left out.

    Args:
        text: a reply. It may begin with the prompt once more, which is then a user's turn and is skipped. The model's
            first turn that has any text is returned; what follows the end of that turn is dropped.

    Example:
        >>> cut_at_tokens("7.5<|im_end|>\n<|im_start|>user\nNext?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>")
        '7.5'
        >>> cut_at_tokens("<|begin_of_box|>7.5<|end_of_box|>")
        '7.5'
    """
    if _TURN_OR_STRUCK_OUT.match(text):
        text = re.sub("</?s>", " ", text, flags=re.IGNORECASE)
    text = _STRUCK_OUT.sub(" ", _TEXT_BEGINS.sub("", text))
    return _NEUTRAL.sub("", _first_turn(text, _TOKENS)).translate(_BYTES).strip()


def cut_at_words(text: str) -> str:
    r"""The model's first turn as far as words such as "User:" at the beginning of a line mark it.

    Args:
        text: a reply without what the model thought, in which a user may be quoted.

    Example:
        >>> cut_at_words("Score: 7\nUSER: And the next painting?\nASSISTANT: Score: 4")
        'Score: 7'
    """
    return _first_turn(text, _WORDS).strip()


def _first_turn(text: str, markers: re.Pattern[str]) -> str:
    """The first turn of the model that has any text.

    Where the marker of a model's turn follows text without a user's turn or the end of a turn between them, the text
    and the turn are returned together, since the text may be a prompt whose own marker was left out.
    """
    turn, start, is_users = "", 0, False
    for marker in markers.finditer(text):
        piece = "" if is_users else text[start : marker.start()]
        turn += piece
        if marker.lastgroup == "model" and not is_users:
            is_label = markers is _WORDS and turn.strip() != ""  # "It is calm.\nAnswer: 7" goes on
            start = marker.start() if is_label else marker.end()
            turn += "" if is_label else "\n"
            continue
        if _NEUTRAL.sub("", turn).strip():
            return turn
        turn, start, is_users = "", marker.end(), marker.lastgroup == "user"
    return turn + ("" if is_users else text[start:])
