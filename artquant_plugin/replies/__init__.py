"""Any model's answer -> a score, or the reason why there is none. Nothing is clamped, guessed or dropped."""

from artquant_plugin.replies.measurement import Measurement as Measurement
from artquant_plugin.replies.parser import parse_reply as parse_reply
from artquant_plugin.replies.reply import REASONS as REASONS
from artquant_plugin.replies.reply import ParsedReply as ParsedReply
from artquant_plugin.replies.reply import Reason as Reason
from artquant_plugin.replies.text import request_failed as request_failed
from artquant_plugin.replies.text import without_thinking as without_thinking
