"""Make a tiny Llama-style model with random weights, and its tokenizer, on this machine: nothing is downloaded.

``python -m serving.tiny_model OUT`` writes about 150,000 parameters. The same seed gives the same files.
``python -m serving.tiny_model --adapter OUT SEED`` writes a LoRA adapter of it.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

LAYERS = 2
HIDDEN = 64
HEADS = 2
VOCABULARY = 512
MAX_TOKENS = 2048
SEED = 0

STAMP = "foreserve.json"
"""Written last: its presence says that the folder is complete."""

RECIPE = {
    "layers": LAYERS,
    "hidden": HIDDEN,
    "heads": HEADS,
    "vocabulary": VOCABULARY,
    "max_tokens": MAX_TOKENS,
    "seed": SEED,
    "recipe": 1,
}
_ADAPTED = ("q_proj", "v_proj")
_SPECIAL = ("<|pad|>", "<|bos|>", "<|eos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
_CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_CORPUS = (
    "the quick brown fox jumps over the lazy dog",
    "ray serve llm with vllm behind haproxy autoscaling control plane",
    "tokens per second time to first token queue length replica",
)


def is_complete(out: Path) -> bool:
    """Tell whether ``out`` holds a whole model made by this recipe."""
    try:
        stamp = json.loads((out / STAMP).read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp == RECIPE)


def make(out: Path) -> bool:
    """Write the model to ``out``; return False when it was there already. A half-written folder is never seen."""
    if is_complete(out):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        _write_model(made, _write_tokenizer(made))
        (made / STAMP).write_text(json.dumps(RECIPE, indent=1))
        if out.exists():
            shutil.rmtree(out)
        made.rename(out)
    return True


def _write_tokenizer(out: Path) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: PLC0415 - slow to import
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - slow to import

    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_CORPUS * 50, trainer)
    pad, begin, end, *others = _SPECIAL
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=begin,
        eos_token=end,
        pad_token=pad,
        additional_special_tokens=others,
        model_max_length=MAX_TOKENS,
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    tokenizer.save_pretrained(out)
    return tokenizer


def _write_model(out: Path, tokenizer: Any) -> None:
    import torch  # noqa: PLC0415 - slow to import
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - slow to import

    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=max(VOCABULARY, len(tokenizer)),
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN * 2,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=MAX_TOKENS,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(out, safe_serialization=True)


def make_adapter(out: Path, *, seed: int, rank: int = 8) -> None:
    """Write a LoRA adapter of the tiny model with random weights, large enough to change what it says."""
    import torch  # noqa: PLC0415 - slow to import
    from safetensors.torch import save_file  # noqa: PLC0415 - as above

    drawn = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(LAYERS):
        for name in _ADAPTED:
            where = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{where}.lora_A.weight"] = torch.randn(rank, HIDDEN, generator=drawn)
            weights[f"{where}.lora_B.weight"] = torch.randn(HIDDEN, rank, generator=drawn)
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(_ADAPTED),
    }
    (out / "adapter_config.json").write_text(json.dumps(config))


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    if arguments[:1] == ["--adapter"] and len(arguments) == 3 and arguments[2].isdecimal():  # noqa: PLR2004 - as told
        make_adapter(Path(arguments[1]), seed=int(arguments[2]))
        return 0
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m serving.tiny_model OUT | --adapter OUT SEED\n")
        return 2
    out = Path(arguments[0])
    made = make(out)
    sys.stdout.write(f"{out}: {'made' if made else 'already there'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
