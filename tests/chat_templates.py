"""Chat templates as the families publish them, cut down to a system turn, the user's and the assistant's, which is all
that is asked of them here; and small tokenizers that have the tokens of each."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

FRAME = "<|a frame|>"  # where our prompt has an image
LLAMA2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_02 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_03 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_DATED = (
    "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
)
LLAMA31 = (
    "{{ bos_token }}{{ '" + _DATED + "' }}{{ '<|eot_id|>' }}"
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA31_SYSTEM = f"{_DATED}<|eot_id|>"


def _qwen(system: str) -> str:
    return (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\n" + system + "<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


QWEN2 = _qwen("You are a helpful assistant.")
QWEN25 = _qwen("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
QWEN3 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
QWEN3_2507 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

_LLAMA3_TOKENS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
_QWEN_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# family -> special tokens, others that are added, beginning (if any), end
TOKENS: dict[str, tuple[list[str], list[str], str | None, str]] = {
    "llama3": (_LLAMA3_TOKENS, [], "<|begin_of_text|>", "<|eot_id|>"),
    "mistral-0.3": (["<s>", "</s>", "[INST]", "[/INST]"], [], "<s>", "</s>"),
    "qwen2": (_QWEN_TOKENS, [], None, "<|im_end|>"),
    "qwen2.5": (_QWEN_TOKENS, ["<tool_call>", "</tool_call>"], None, "<|im_end|>"),
    "qwen3": (_QWEN_TOKENS, ["<tool_call>", "</tool_call>", "<think>", "</think>"], None, "<|im_end|>"),
}


def write_tokenizer(folder: Path, family: str, template: str | None) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of a few hundred pieces with the tokens of a family, and `FRAME` for the tests."""
    special, others, bos, eos = TOKENS[family]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(
        ["What happens in the video? user assistant system <Img> <Cap>hello world"] * 3, trainer
    )
    backend.add_special_tokens([*special, FRAME])
    backend.add_tokens(others)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos, pad_token=eos)
    if template is not None:
        tokenizer.chat_template = template
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return tokenizer
