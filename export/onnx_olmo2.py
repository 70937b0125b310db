"""OLMo-2 for onnxruntime-genai's builder, which does not know it.

In: the builder, in its own process. Out: graphs in which norms stand behind attention and
feed-forward, and queries and keys are normed over their whole width.
"""

from typing import Any

from onnxruntime_genai.models.builder import Model


class Olmo2Model(Model):  # type: ignore[misc]
    """A graph of OLMo-2."""

    def make_attention_init(self, config: Any) -> None:
        self.attention_attrs |= {"q_norm": True, "k_norm": True}
        super().make_attention_init(config)

    def make_qk_norm(self, layer_id: int, attention: Any) -> None:
        for part in ("q", "k"):
            name = f"/model/layers.{layer_id}/attn/{part}_norm/SimplifiedLayerNormalization"
            weight = f"model.layers.{layer_id}.attn.{part}_norm.layernorm.weight"
            stored = getattr(attention, f"{part}_norm").weight
            self.make_initializer(stored, weight, to=self.io_dtype)
            path, output = f"{part}_path", f"{name}/output_0"
            self.make_node(
                "SimplifiedLayerNormalization",
                inputs=[self.attention_attrs[path], weight],
                outputs=[output],
                name=name,
                epsilon=self.layernorm_attrs["epsilon"],
                axis=-1,
                stash_type=1,
            )
            shape = self.make_hidden_state_shape(last_dim=len(stored))
            self.make_value(output, self.io_dtype, shape=shape)
            self.attention_attrs[path] = output

    def make_layer(self, layer_id: int, layer: Any) -> None:
        """The norm after the last layer sums its inputs itself, so a layer leaves its sum open."""
        attrs = self.layernorm_attrs
        first = attrs["first_layernorm"]
        stream = attrs["root_input"] if first else self.summed(layer_id, "input")
        self.make_attention(layer_id, layer.self_attn, root_input=stream)
        self.leave_open(layer_id, stream, layer.post_attention_layernorm, "post_attention")
        stream = self.summed(layer_id, "middle")
        self.make_mlp(layer_id, layer.mlp, root_input=stream)
        self.leave_open(layer_id, stream, layer.post_feedforward_layernorm, "post_feedforward")
        attrs["first_layernorm"] = False
        attrs["last_layernorm"] = layer_id == self.num_layers - 1

    def leave_open(self, layer_id: int, stream: str, norm: Any, location: str) -> None:
        """Norm what a block computed, and let it wait beside the stream for the sum."""
        attrs = self.layernorm_attrs
        attrs["root_input"] = attrs["skip_input"]
        self.make_layernorm(layer_id, norm, skip=False, simple=True, location=location)
        attrs["root_input"], attrs["skip_input"] = stream, attrs["output_0"]

    def summed(self, layer_id: int, place: str) -> str:
        name = f"/model/layers.{layer_id}/residual_{place}/Add"
        both = [self.layernorm_attrs[key] for key in ("root_input", "skip_input")]
        self.make_add(name, both, dtype=self.io_dtype, shape=self.make_hidden_state_shape())
        return f"{name}/output_0"
