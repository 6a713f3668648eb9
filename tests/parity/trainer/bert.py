"""Hugging Face's BertModel without pooler."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


@dataclass(frozen=True)
class BertConfig:
    """The keys of a `config.json` that matter here; the defaults are bert-base-uncased's."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1

    def norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.hidden_size, eps=self.layer_norm_eps)


class Embeddings(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.LayerNorm = config.norm()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)
        xs = self.word_embeddings(ids) + self.position_embeddings(positions)
        xs = xs + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(xs))


class SelfAttention(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        self.heads, self.rate = config.num_attention_heads, config.dropout
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def split(self, xs: Tensor) -> Tensor:
        return xs.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [batch, heads, tokens, size]

    def forward(self, xs: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (self.split(f(xs)) for f in (self.query, self.key, self.value))
        rate = self.rate if self.training else 0.0
        seen = scaled_dot_product_attention(query, key, value, mask[:, None, None, :], rate)
        return seen.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A dense layer whose result is added to what came in, then normalised."""

    def __init__(self, inputs: int, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = config.norm()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, xs: Tensor, kept: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(xs)) + kept)


class Attention(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Output(config.hidden_size, config)

    def forward(self, xs: Tensor, mask: Tensor) -> Tensor:
        return self.output(self.self(xs, mask), xs)


class Intermediate(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, xs: Tensor) -> Tensor:
        return gelu(self.dense(xs))


class Layer(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config.intermediate_size, config)

    def forward(self, xs: Tensor, mask: Tensor) -> Tensor:
        xs = self.attention(xs, mask)
        return self.output(self.intermediate(xs), xs)


class Encoder(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, xs: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layer:
            xs = layer(xs, mask)
        return xs


class Bert(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(self.embeddings(ids), mask)  # [batch, tokens, hidden]
