"""Reads the score out of any model's reply, or says why there is none; no score is clamped or guessed."""

from artquant_plugin.replies.measurement import Measurement as Measurement
from artquant_plugin.replies.parser import parse_reply as parse_reply
from artquant_plugin.replies.reply import REASONS as REASONS
from artquant_plugin.replies.reply import ParsedReply as ParsedReply
from artquant_plugin.replies.reply import Reason as Reason
from artquant_plugin.replies.text import first_answer as first_answer
from artquant_plugin.replies.text import request_failed as request_failed
