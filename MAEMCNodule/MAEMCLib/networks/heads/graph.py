"""Several image branches and clinical values, related by a bipartite graph: the fusion of the Res-MAE system.

Its source is public as an abstract only: a pre-trained convolutional encoder goes into a model of several branches that
relates the modalities through a bipartite graph, for any number of classes. What is drawn here is our reading of that:

* One side of the graph has a node for each image branch (a plane of a series), the other one for each clinical value.
  All branches share one encoder, since all are CT; each has a normalization of its own.
* There is an edge wherever both ends were observed. What was not observed has no edge, gets no message and gives none:
  its input is not even looked at, so that it may hold anything.
* Two rounds of messages go in both directions at once, each the attention-weighted mean of the observed neighbors.
* Each image branch, and the clinical values together, give logits; their mean over what was observed is the model's.
"""

import torch
from torch import Tensor, nn

from ..classifier import Classifier, Logits, mean_of
from ..vit import NORM_EPSILON, Linear, initialize


class Messages(nn.Module):
    """One direction of one round: what each receiver gets of its observed neighbors.

    a_rs = softmax over the observed s of (Q h_r) . (K h_s) / sqrt(d); the message to r is sum_s a_rs V h_s, and zero
    where r has no observed neighbor.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = Linear(width, width)
        self.key = Linear(width, width)
        self.value = Linear(width, width)

    def weights(self, receivers: Tensor, senders: Tensor, edges: Tensor) -> Tensor:
        """The attention a_rs: (B, R, d), (B, S, d) and (B, R, S) bool -> (B, R, S); rows without an edge are zero."""
        scores = self.query(receivers) @ self.key(senders).transpose(1, 2) / receivers.shape[-1] ** 0.5
        scores = scores.float().masked_fill(~edges, torch.finfo(torch.float32).min)
        # Where there is no edge at all the softmax is uniform; the second factor makes it nothing.
        return scores.softmax(dim=-1) * edges

    def forward(self, receivers: Tensor, senders: Tensor, edges: Tensor) -> Tensor:
        """The messages, (B, R, d)."""
        return self.weights(receivers, senders, edges).to(senders.dtype) @ self.value(senders)


class Round(nn.Module):
    """One round in both directions at once: h <- norm(h + message), from the values before the round."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_branches, self.to_attributes = Messages(width), Messages(width)
        self.branch_norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attribute_norm = nn.LayerNorm(width, eps=NORM_EPSILON)

    def forward(self, branches: Tensor, attributes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, d), (B, A, d), (B, K, A) bool -> the nodes after the round."""
        to_branches = self.to_branches(branches, attributes, edges)
        to_attributes = self.to_attributes(attributes, branches, edges.transpose(1, 2))
        return self.branch_norm(branches + to_branches), self.attribute_norm(attributes + to_attributes)


class GraphHead(Classifier):
    """Encoder, nodes, message passing, a logit for each branch and their mean.

    ``center`` and ``scale``, (A,), standardize the numbers among the clinical values; they come from the training part
    (``set_standardization``) and are part of the state. The same seed gives the same values.
    """

    RELATES = True

    def build(self, seed: int) -> None:
        graph, width, count = self.graph, self.graph.width, len(self.graph.branches)
        self.branch_norms = nn.ModuleList(nn.LayerNorm(self.encoder.width, eps=NORM_EPSILON) for _ in range(count))
        self.projections = nn.ModuleList(Linear(self.encoder.width, width) for _ in range(count))
        # A number is a direction times its value; a choice is one of as many vectors.
        self.attributes = nn.ModuleList(
            Linear(choices, width, bias=False) if choices else Linear(1, width) for choices in graph.attributes
        )
        self.rounds = nn.ModuleList(Round(width) for _ in range(graph.rounds)) if graph.attributes else nn.ModuleList()
        self.heads = nn.ModuleList(Linear(width, self.classes) for _ in range(count + bool(graph.attributes)))
        for number, part in enumerate((self.projections, self.attributes, self.rounds)):
            initialize(part, seed + 1 + number)
        initialize(self.heads, seed + 4, deviation=0.02)
        for choices, embed in zip(graph.attributes, self.attributes, strict=True):
            if choices:  # a choice that no training case has goes on saying nothing
                nn.init.zeros_(embed.weight)
        self.register_buffer("center", torch.zeros(len(graph.attributes)))
        self.register_buffer("scale", torch.ones(len(graph.attributes)))

    def set_standardization(self, center: Tensor, scale: Tensor) -> None:
        """Mean and deviation, (A,), of the training part's numbers; 0 and 1 for choices."""
        self.center.copy_(center)
        self.scale.copy_(scale)

    def of_features(self, features: Tensor, seen: Tensor, values: Tensor, given: Tensor) -> Logits:
        """In the precision of the weights."""
        branches = self._branch_nodes(features)
        attributes = self._attribute_nodes(values, given, branches)
        edges = seen.unsqueeze(2) & given.unsqueeze(1)
        for messages in self.rounds:
            branches, attributes = messages(branches, attributes, edges)
        logits = [head(branches[:, k]) for k, head in enumerate(self.heads[: len(self.graph.branches)])]
        observed = seen
        if self.graph.attributes:
            logits.append(self.heads[-1](mean_of(attributes, given)))
            observed = torch.cat([seen, given.any(dim=1, keepdim=True)], dim=1)
        stacked = torch.stack(logits, dim=1).float() * observed.unsqueeze(2)
        return Logits(mean_of(stacked, observed), stacked, observed)

    def _branch_nodes(self, features: Tensor) -> Tensor:
        found = features.to(self.branch_norms[0].weight.dtype)
        pairs = zip(self.branch_norms, self.projections, strict=True)
        return torch.stack([project(norm(found[:, k])) for k, (norm, project) in enumerate(pairs)], dim=1)

    def _attribute_nodes(self, values: Tensor, given: Tensor, like: Tensor) -> Tensor:
        if not self.graph.attributes:
            return like.new_zeros(len(values), 0, self.graph.width)
        known = torch.where(given, values, self.center)
        standardized = ((known - self.center) / self.scale).to(like.dtype)
        nodes = []
        for a, (choices, embed) in enumerate(zip(self.graph.attributes, self.attributes, strict=True)):
            if choices:
                index = torch.where(given[:, a], values[:, a], 0.0).long()
                nodes.append(embed(nn.functional.one_hot(index, choices).to(like.dtype)))
            else:
                nodes.append(embed(standardized[:, a : a + 1]))
        return torch.stack(nodes, dim=1)


HEAD = GraphHead
