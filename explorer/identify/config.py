"""The `config.json` beside a checkpoint: what it says of ties and of quantisation."""

import os
from typing import Any

import msgspec

from explorer.errors import FormatError
from explorer.paths import name_set
from explorer.storage.local import exists, read_whole

__all__ = ["MODEL_TYPES", "Config", "read_config", "read_config_file"]

_MAX_BYTES = 5_000_000  # one with 20,000 labels has 2 million


# Where config.json leaves it unset, the default of transformers' class decides. These are the
# defaults of 4.57, read off its classes; of other model types nothing is known.
_TIED = name_set(
    """
    albert bart bert bert-generation big_bird bigbird_pegasus biogpt blenderbot
    blenderbot-small blip blip-2 bloom camembert cohere cohere2 convbert ctrl
    data2vec-text deberta deberta-v2 distilbert electra ernie ernie4_5 ernie4_5_moe
    esm falcon falcon_mamba flaubert florence2 fnet funnel gemma gemma2 gemma3
    gemma3_text gemma3n gemma3n_text gpt2 gpt_bigcode gpt_neo gpt_neox_japanese
    ibert instructblip jetmoe kosmos-2 layoutlm led lfm2 lfm2_vl longformer longt5
    luke lxmert m2m_100 mamba marian mbart mega megatron-bert mobilebert modernbert
    modernbert-decoder moonshine mpnet mpt mra mvp nezha nllb-moe nystromformer
    openai-gpt opt paligemma pegasus pegasus_x plbart pop2piano prophetnet qdqbert
    recurrent_gemma roberta roberta-prelayernorm roc_bert roformer smollm3
    speech_to_text splinter squeezebert starcoder2 switch_transformers t5 t5gemma
    transfo-xl trocr udop umt5 vaultgemma whisper xglm xlm xlm-prophetnet
    xlm-roberta xlm-roberta-xl xlnet xmod yoso zamba zamba2
    """
)
_UNTIED = name_set(
    """
    apertus arcee aria_text bamba bitnet blt chameleon code_llama codegen dbrx
    deepseek_v2 deepseek_v3 diffllama doge dots1 emu3 exaone4 falcon_h1 flex_olmo
    fuyu git glm glm4 glm4_moe glm4v glm4v_moe gpt_neox gpt_oss gptj granite
    granitemoe granitemoehybrid granitemoeshared helium hunyuan_v1_dense
    hunyuan_v1_moe idefics idefics2 idefics3 imagegpt internvl jamba janus llama
    llama4 llama4_text llava llava_next llava_next_video llava_onevision
    longcat_flash mamba2 minimax ministral mistral mistral3 mixtral mllama
    mllama_text_model moshi mt5 nemotron olmo olmo2 olmo3 olmoe ovis2 persimmon phi
    phi3 phi4_multimodal phimoe pix2struct qwen2 qwen2_5_omni qwen2_5_vl
    qwen2_5_vl_text qwen2_audio qwen2_moe qwen2_vl qwen2_vl_text qwen3 qwen3_moe
    qwen3_next qwen3_vl qwen3_vl_moe qwen3_vl_moe_text qwen3_vl_text reformer
    rembert rwkv seed_oss smolvlm stablelm video_llava vipllava voxtral xlstm
    """
)
MODEL_TYPES = _TIED | _UNTIED  # the names of transformers, as far as they are known here


class Config(msgspec.Struct, frozen=True):
    """What a config.json says that a header does not.

    `tied` is None where the file leaves it unset and the model type is unknown; `tied_rule` says
    which of the two decided. `quantization` is the scheme's own description.
    """

    model_type: str = ""
    architecture: str = ""
    tied: bool | None = None
    tied_rule: str = ""
    quantization: dict[str, Any] | None = None
    content: dict[str, Any] = {}


def read_config(folder: str) -> Config | None:
    """Return the Hugging Face config.json of a folder; None where there is none.

    Raises:
        TargetError: it is there and cannot be read.
        FormatError: it is not a JSON object, or a field is of the wrong type.
    """
    path = os.path.join(folder, "config.json")
    return read_config_file(path) if exists(path) else None


def read_config_file(path: str) -> Config:
    """Return the Hugging Face config in a file; errors as of `read_config`."""
    raw = read_whole(path, _MAX_BYTES)
    try:
        content = _decode(raw)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ValueError) and "4300 digits" in str(error):
            error = ValueError("a number of more than 4,300 digits")
        raise FormatError(
            path, found=f"is not JSON ({error})", cure="correct or remove it"
        ) from None
    if not isinstance(content, dict):
        raise FormatError(path, found="is not a JSON object", cure="correct or remove it")
    return _config(path, content)


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        import json  # takes Python's Infinity, which real ones have

        return json.loads(raw)


def _config(path: str, content: dict[str, Any]) -> Config:
    # a multimodal model keeps its language model's settings in text_config
    text = content.get("text_config")
    text = text if isinstance(text, dict) else {}
    model_type = _field(path, content, "model_type", str) or ""
    tied = _field(path, text, "tie_word_embeddings", bool)
    if tied is None:
        tied = _field(path, content, "tie_word_embeddings", bool)
    rule = f"config.json says tie_word_embeddings: {str(tied).lower()}"
    decides = _field(path, text, "model_type", str) or model_type
    if tied is None and decides in _TIED | _UNTIED:
        tied = decides in _TIED
        rule = f"config.json leaves it unset and {decides} models are {'' if tied else 'un'}tied"
    architectures = _field(path, content, "architectures", list) or [""]
    return Config(
        model_type=model_type,
        architecture=str(architectures[0]),
        tied=tied,
        tied_rule=rule,
        quantization=_field(path, content, "quantization_config", dict)
        or _field(path, text, "quantization_config", dict)
        or _field(path, content, "quantization", dict),
        content=content,
    )


def _field(path: str, content: dict[str, Any], name: str, kind: type) -> Any:
    value = content.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise FormatError(
        path,
        found=f"{name} is {type(value).__name__}",
        expected=kind.__name__,
        cure="correct or remove config.json",
    )
