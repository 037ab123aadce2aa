"""The whole mPLUG-Owl2: ViT, abstractor and LLaMA as one model of transformers."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MultimodalBaseModelOutputWithPast,
    MultimodalCausalLMOutputWithPast,
)
from transformers.modeling_utils import slice_logits_to_keep
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from artquant_plugin.backbones.mplug_owl2.abstractor import MPLUGOwl2VisualAbstractor
from artquant_plugin.backbones.mplug_owl2.configuration import MPLUGOwl2Config
from artquant_plugin.backbones.mplug_owl2.language import ImageTokens, LanguageAttention, LanguageLayer
from artquant_plugin.backbones.mplug_owl2.vision import MPLUGOwl2VisionModel


class MPLUGOwl2PreTrainedModel(PreTrainedModel):
    """Attributes by which transformers loads, trains, shards and generates with the architecture."""

    config: MPLUGOwl2Config
    base_model_prefix = "model"
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["LanguageLayer", "VisionLayer", "AbstractorLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": LanguageLayer, "attentions": LanguageAttention}


class MPLUGOwl2Model(MPLUGOwl2PreTrainedModel):
    """Computes hidden states from token ids and pixels.

    In the token ids, an image consists of `MPLUGOwl2Config.tokens_per_image` times
    `MPLUGOwl2Config.image_token_index`.
    """

    def __init__(self, config: MPLUGOwl2Config) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.vision_model = MPLUGOwl2VisionModel(config.vision)
        self.visual_abstractor = MPLUGOwl2VisualAbstractor(config.abstractor, config.hidden_size)
        self.layers = nn.ModuleList(LanguageLayer(config, index) for index in range(config.num_hidden_layers))
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.gradient_checkpointing = False
        self.post_init()

    def get_image_features(self, pixel_values: Tensor, return_dict: bool = True) -> BaseModelOutputWithPooling:
        """Encode images into tokens of the language model.

        Args:
            pixel_values: pixels of n images, shape (n, 3, size, size).
            return_dict: an argument that transformers passes; it has no effect.

        Returns:
            An output with n tensors of shape (queries + 1, hidden) as `pooler_output`, which is the attribute that
            transformers' own models use.
        """
        if pixel_values.device.type == "cpu" and not torch.is_grad_enabled():
            # A CPU's caches hold the activations of one image but not of a batch: one by one, the products reach 88 %
            # of its peak instead of 77 %.
            tokens = torch.cat([self.visual_abstractor(self.vision_model(one)) for one in pixel_values.split(1)])
        else:
            tokens = self.visual_abstractor(self.vision_model(pixel_values))
        per_image: Any = list(tokens)  # transformers declares one tensor and uses a list
        return BaseModelOutputWithPooling(pooler_output=per_image)

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> MultimodalBaseModelOutputWithPast:
        """Run the model on a batch of n sequences of length L.

        Args:
            input_ids: token ids of shape (n, L); None where `inputs_embeds` is given.
            pixel_values: pixels of the batch's images, shape (images, 3, size, size), in the order of their tokens;
                None for text alone.
            attention_mask: shape (n, past + L), 1 for tokens and 0 for padding; None where there is no padding.
            position_ids: positions of shape (n or 1, L); None to count on from the length of the cache.
            cache: keys and values of the past tokens; None where there are none.
            inputs_embeds: embeddings of shape (n, L, hidden) of text alone, instead of `input_ids`.
            use_cache: whether to fill a cache; None for the configuration's own setting.
            mm_encoder_outputs: encoded images, instead of `pixel_values`: under ``image`` the `image_outputs` that an
                earlier pass returned.
            kwargs: arguments that transformers passes to its decorators; they are not read here.

        Returns:
            Hidden states of shape (n, L, hidden) behind the last norm, the cache, and the encoded images.

        Raises:
            ValueError: both or neither of token ids and embeddings are given, both pixels and encoded images are
                given, or the token ids have more or fewer image tokens than the images need.
        """
        if pixel_values is not None and mm_encoder_outputs is not None:
            raise ValueError("give either pixel_values or mm_encoder_outputs")
        encoded = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            encoded = self.get_image_features(pixel_values)
        images = None
        if input_ids is not None and inputs_embeds is None:
            hidden, images = self._embed(input_ids, encoded)
        elif input_ids is None and inputs_embeds is not None:
            hidden = inputs_embeds
        else:
            raise ValueError("give either input_ids or inputs_embeds")
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        if position_ids is None:
            past = cache.get_seq_length() if cache is not None else 0
            position_ids = torch.arange(past, past + hidden.shape[1], device=hidden.device)[None]
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=hidden,
            attention_mask=attention_mask,
            cache=cache,
            position_ids=position_ids,
        )
        positions = self.rotary_emb(hidden, position_ids=position_ids)
        for layer in self.layers:
            hidden = layer(hidden, images, positions, mask, cache=cache)
        return MultimodalBaseModelOutputWithPast(
            last_hidden_state=self.norm(hidden), cache=cache, image_outputs=encoded
        )

    def _embed(
        self, input_ids: Tensor, encoded: BaseModelOutputWithPooling | None
    ) -> tuple[Tensor, ImageTokens | None]:
        """Embeddings with encoded images in place of their tokens, and which tokens these are; None without images."""
        if encoded is None:
            return self.embed_tokens(input_ids), None
        is_image = input_ids == self.config.image_token_index
        per_image: Any = encoded.pooler_output
        features = torch.stack(list(per_image))
        images = ImageTokens.find(is_image)
        if len(images.image) != features.shape[0] * features.shape[1]:
            raise ValueError(
                f"{len(images.image)} image tokens in input_ids do not fit {features.shape[0]} images of "
                f"{features.shape[1]} tokens each; build both with the processor"
            )
        # The embedding has no row for the image token, so token 0 is looked up until the image replaces it.
        embedded = self.embed_tokens(input_ids.masked_fill(is_image, 0))
        return embedded.masked_scatter(images.mask, features.to(embedded.dtype)), images


class MPLUGOwl2ForConditionalGeneration(MPLUGOwl2PreTrainedModel, GenerationMixin):
    """mPLUG-Owl2 with its output head, for scoring, training and generation."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: MPLUGOwl2Config) -> None:
        super().__init__(config)
        self.model = MPLUGOwl2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_image_features(self, pixel_values: Tensor, return_dict: bool = True) -> BaseModelOutputWithPooling:
        """Encode images into tokens of the language model, as `MPLUGOwl2Model.get_image_features` does."""
        return self.model.get_image_features(pixel_values, return_dict)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> MultimodalCausalLMOutputWithPast:
        """Compute the logits of a batch of n sequences of length L.

        `MPLUGOwl2Model.forward` says more about the arguments that the two share.

        Args:
            input_ids: token ids of shape (n, L); None where `inputs_embeds` is given.
            pixel_values: pixels of the batch's images, shape (images, 3, size, size); None for text alone.
            attention_mask: shape (n, past + L), 1 for tokens and 0 for padding; None where there is no padding.
            position_ids: positions of shape (n or 1, L); None to count on from the length of the cache.
            cache: keys and values of the past tokens; None where there are none.
            inputs_embeds: embeddings of shape (n, L, hidden) of text alone, instead of `input_ids`.
            use_cache: whether to fill a cache; None for the configuration's own setting.
            logits_to_keep: how many of the last positions get logits, or the indices of those that do; 0 for all.
            mm_encoder_outputs: encoded images, under the key ``image``, instead of `pixel_values`.
            kwargs: arguments that are passed on to `MPLUGOwl2Model.forward`.

        Returns:
            Logits of shape (n, kept positions, vocabulary), the cache, and the encoded images.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )
        logits = self.lm_head(slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep))
        return MultimodalCausalLMOutputWithPast(
            logits=logits,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_outputs=outputs.image_outputs,
        )
