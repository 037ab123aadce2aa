"""The whole mPLUG-Owl2 as a model of transformers."""

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
    """What transformers must know of the architecture to load, train, split and generate with it."""

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
    """Token ids and pixels -> hidden states.

    In the ids, each of an image's places (`MPLUGOwl2Config.tokens_per_image` in a row) holds
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
        """Tokens of images.

        Args:
            pixel_values: shape (n, 3, size, size).
            return_dict: what transformers asks for; there is no other form.

        Returns:
            With n tensors of shape (queries + 1, hidden) as `pooler_output`, which is what transformers' models have.
        """
        if pixel_values.device.type == "cpu" and not torch.is_grad_enabled():
            # A processor's caches hold the activations of one image, not of a batch: 88 % of its peak against 77 %.
            tokens = torch.cat([self.visual_abstractor(self.vision_model(one)) for one in pixel_values.split(1)])
        else:
            tokens = self.visual_abstractor(self.vision_model(pixel_values))
        each: Any = list(tokens)  # declared as one tensor, used as a list
        return BaseModelOutputWithPooling(pooler_output=each)

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
        """One pass over a batch.

        Args:
            input_ids: shape (n, L).
            pixel_values: shape (images, 3, size, size), in the order of their places in the ids.
            attention_mask: shape (n, past + L), 1 for real tokens.
            position_ids: shape (n or 1, L); consecutive from the cache's length when left out.
            cache: keys and values of earlier tokens.
            inputs_embeds: shape (n, L, hidden), text alone; instead of `input_ids`.
            use_cache: whether to fill a cache; the configuration's own when left out.
            mm_encoder_outputs: under ``image`` what an earlier pass returned as `image_outputs`, instead of
                `pixel_values`.
            kwargs: what transformers itself passes on; nothing of it is read here.

        Raises:
            ValueError: both or none of ids and embeddings; both pixels and encoded images; the ids hold more or fewer
                places than the images fill.
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
        """Embeddings with the images in their places, and where these are; None when there are none."""
        if encoded is None:
            return self.embed_tokens(input_ids), None
        places = input_ids == self.config.image_token_index
        each: Any = encoded.pooler_output
        features = torch.stack(list(each))
        images = ImageTokens.find(places)
        if len(images.image) != features.shape[0] * features.shape[1]:
            raise ValueError(
                f"{len(images.image)} places for image tokens in input_ids, {features.shape[0]} images of "
                f"{features.shape[1]} tokens each; build both with the processor"
            )
        # The image token has no row of its own; any other stands in for it until the image replaces it.
        embedded = self.embed_tokens(input_ids.masked_fill(places, 0))
        return embedded.masked_scatter(images.mask, features.to(embedded.dtype)), images


class MPLUGOwl2ForConditionalGeneration(MPLUGOwl2PreTrainedModel, GenerationMixin):
    """mPLUG-Owl2 with its output head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: MPLUGOwl2Config) -> None:
        super().__init__(config)
        self.model = MPLUGOwl2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_image_features(self, pixel_values: Tensor, return_dict: bool = True) -> BaseModelOutputWithPooling:
        """See `MPLUGOwl2Model.get_image_features`."""
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
        """Logits of a batch; see `MPLUGOwl2Model.forward`.

        Args:
            input_ids: shape (n, L).
            pixel_values: shape (images, 3, size, size).
            attention_mask: shape (n, past + L).
            position_ids: shape (n or 1, L).
            cache: keys and values of earlier tokens.
            inputs_embeds: shape (n, L, hidden), text alone.
            use_cache: whether to fill a cache.
            logits_to_keep: how many of the last positions get logits, or which; 0 for all.
            mm_encoder_outputs: encoded images instead of pixels.
            kwargs: passed on.
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
