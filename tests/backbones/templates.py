"""Chat templates in the form of the families' own: the same special tokens, order and white space."""

# Qwen2-VL, Qwen2.5-VL: a system turn of their own when the conversation has none.
QWEN2_VL = """\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- for part in message.content -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' if add_generation_prompt else '' -}}
"""

QWEN3_VL = QWEN2_VL.replace("You are a helpful assistant.", "").replace(
    "loop.first and message.role != 'system'", "false"
)

# Qwen3.5: thinks unless told not to; the turn that is last keeps its (empty) thoughts.
QWEN3_5 = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.role == 'assistant' and loop.last -%}
{{- '<think>\\n' + (message.reasoning_content or '') + '\\n</think>\\n\\n' -}}
{%- endif -%}
{%- for part in message.content -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{{- '<think>\\n\\n</think>\\n\\n' if enable_thinking is defined and enable_thinking is false else '<think>\\n' -}}
{%- endif -%}
"""

# LLaVA 1.5: images first, no special token ends a turn, a space before the assistant's words.
LLAVA = """\
{%- for message in messages -%}
{{- message.role.upper() + ': ' -}}
{%- for part in message.content if part.type == 'image' -%}{{- '<image>\\n' -}}{%- endfor -%}
{%- for part in message.content if part.type == 'text' -%}{{- part.text + ' ' -}}{%- endfor -%}
{%- endfor -%}
{{- 'ASSISTANT:' if add_generation_prompt else '' -}}
"""

# LLaVA-OneVision: images first; the assistant's turn in the history begins otherwise than the generation prompt.
LLAVA_ONEVISION = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + ' ' -}}
{%- for part in message.content if part.type == 'image' -%}{{- '<image>' -}}{%- endfor -%}
{%- for part in message.content if part.type == 'text' -%}{{- '\\n' + part.text -}}{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' if add_generation_prompt else '' -}}
"""

# Idefics3, SmolVLM: "User:<image>…", and "Assistant:" with the space in the answer.
IDEFICS3 = """\
{{- '<|im_start|>' -}}
{%- for message in messages -%}
{{- message.role.capitalize() + (':' if message.content[0].type == 'image' else ': ') -}}
{%- for part in message.content -%}
{{- '<image>' if part.type == 'image' else part.text -}}
{%- endfor -%}
{{- '<end_of_utterance>\\n' -}}
{%- endfor -%}
{{- 'Assistant:' if add_generation_prompt else '' -}}
"""

INTERNVL = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- for part in message.content -%}
{{- '<IMG_CONTEXT>\\n' if part.type == 'image' else part.text -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\\n' if add_generation_prompt else '' -}}
"""

# Gemma 3: writes the beginning-of-sequence token itself, insists on alternating roles, trims texts.
GEMMA3 = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('roles must alternate user/assistant') -}}
{%- endif -%}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' -}}
{%- for part in message.content -%}
{{- '<start_of_image>' if part.type == 'image' else part.text | trim -}}
{%- endfor -%}
{{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{{- '<start_of_turn>model\\n' if add_generation_prompt else '' -}}
"""

# Gemma 4: thinks when its system turn says so; told not to, the prompt closes an empty channel of thoughts.
GEMMA4 = """\
{{- bos_token -}}
{%- if enable_thinking is defined and enable_thinking -%}{{- '<|turn>system\\n<|think|><turn|>\\n' -}}{%- endif -%}
{%- for message in messages -%}
{{- '<|turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' -}}
{%- for part in message.content -%}
{{- '<|image|>' if part.type == 'image' else part.text | trim -}}
{%- endfor -%}
{{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|turn>model\\n' -}}
{{- '' if enable_thinking is defined and enable_thinking else '<|channel>thought\\n<channel|>' -}}
{%- endif -%}
"""

# Mistral Small 3.1: no generation prompt at all, the answer follows [/INST].
MISTRAL3 = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- '[INST]' -}}
{%- for part in message.content -%}{{- '[IMG]' if part.type == 'image' else part.text -}}{%- endfor -%}
{{- '[/INST]' -}}
{%- else -%}
{%- for part in message.content -%}{{- part.text -}}{%- endfor -%}
{{- eos_token -}}
{%- endif -%}
{%- endfor -%}
"""

MLLAMA = """\
{{- bos_token -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' -}}
{%- for part in message.content -%}{{- '<|image|>' if part.type == 'image' else part.text -}}{%- endfor -%}
{{- '<|eot_id|>' -}}
{%- endfor -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' if add_generation_prompt else '' -}}
"""
