"""Operators that fvcore does not count, or not rightly: matrix products in every form.

fvcore follows a traced graph and calls a handle for each kind of node, with its inputs and outputs.
What has no handle counts nothing, which is right for whatever works element by element, and wrong
for all that multiplies matrices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from fvcore.nn.jit_handles import conv_flop_count, get_shape

Handle = Callable[[list[Any], list[Any]], Any]
_Shape = Sequence[int]


def _product(values: Sequence[Any], made: Sequence[Any]) -> int:
    """Multiply-adds of a matrix product: one for each output value and summed index."""
    return math.prod(get_shape(made[0])) * get_shape(values[0])[-1]


def _added_product(values: Sequence[Any], made: Sequence[Any]) -> int:
    """The same of `baddbmm` and its kind, whose first input is added."""
    return _product(values[1:], made)


def _summed_products(values: Sequence[Any], made: Sequence[Any]) -> int:
    """`addbmm(added, a, b)`: a batch of products, summed up."""
    return math.prod(get_shape(values[1])) * get_shape(values[2])[-1]


def _tensordot(values: Sequence[Any], made: Sequence[Any]) -> int:
    first, dims = get_shape(values[0]), [dim.toIValue() for dim in values[2].node().inputs()]
    return math.prod(get_shape(made[0])) * math.prod(first[dim] for dim in dims)


def _einsum(values: Sequence[Any], made: Sequence[Any]) -> int:
    """One multiply-add for each combination of indices; of several operands, one after another.

    Without an index to sum over it is no matrix product.
    """
    equation = values[0].toIValue().replace(" ", "")
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    shapes = [get_shape(value) for value in values[1].node().inputs()]
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in _named(term, shape).items():
            sizes[letter] = max(size, sizes.get(letter, 1))
    if "->" not in equation:
        once = Counter(letter for term in terms for letter in set(term) if letter.isalpha())
        output = "".join(letter for letter, count in once.items() if count == 1)
    total, left = 0, set(_named(terms[0], shapes[0]))
    for index in range(1, len(terms)):
        right = set(_named(terms[index], shapes[index]))
        kept = _letters(output, sizes).union(
            *(set(_named(terms[n], shapes[n])) for n in range(index + 1, len(terms)))
        )
        if (left & right) - kept:
            total += math.prod(sizes[letter] for letter in left | right)
        left = (left | right) & kept
    return total


def _named(term: str, shape: _Shape) -> dict[str, int]:
    """A name for each dimension of an operand; those of an ellipsis count from the right."""
    before, dots, after = term.partition("...")
    hidden = len(shape) - len(before) - len(after)
    names = [*before, *(f".{hidden - n}" for n in range(hidden)), *after] if dots else list(term)
    return dict(zip(names, shape, strict=True))


def _letters(output: str, sizes: Mapping[str, int]) -> set[str]:
    hidden = {name for name in sizes if name.startswith(".")} if "..." in output else set()
    return hidden | {letter for letter in output if letter.isalpha()}


def _attention(values: Sequence[Any], made: Sequence[Any]) -> int:
    """Queries by keys, and their weights by values, for each head."""
    query, key, value = (get_shape(one) for one in values[:3])
    pairs = math.prod(query[:-1]) * key[-2]
    return pairs * (query[-1] + value[-1])


def _recurrent(values: Sequence[Any], made: Sequence[Any]) -> int:
    """Every weight matrix of `lstm`, `gru` or `rnn`, once for each step of each sequence."""
    sequence = get_shape(values[0])
    lists = [value.node().inputs() for value in values if value.type().kind() == "ListType"]
    shapes = [get_shape(weight) for weight in list(lists[-1])]
    steps = math.prod(sequence[:-1])
    return steps * sum(math.prod(shape) for shape in shapes if len(shape) == 2)


def _recurrent_cell(values: Sequence[Any], made: Sequence[Any]) -> int:
    """`lstm_cell` and its kind: input and state, each by its matrix."""
    batch = math.prod(get_shape(values[0])[:-1])
    shapes = [get_shape(value) for value in values[2:4]]
    return batch * sum(math.prod(shape) for shape in shapes)


def _bilinear(values: Sequence[Any], made: Sequence[Any]) -> int:
    first, weight = get_shape(values[0]), get_shape(values[2])
    return math.prod(first[:-1]) * math.prod(weight)


def _convolution(values: Sequence[Any], made: Sequence[Any]) -> int:
    """Convolutions whose padding is a word."""
    return int(conv_flop_count(get_shape(values[0]), get_shape(values[1]), get_shape(made[0])))


def _counted(name: str, count: Callable[[Sequence[Any], Sequence[Any]], int]) -> Handle:
    return lambda values, made: Counter({name: count(values, made)})


# Each kind of node that fvcore lacks or counts wrongly, under the name that its count has.
HANDLES: Mapping[str, Handle] = {
    **dict.fromkeys(
        (
            *("aten::matmul", "aten::mm", "aten::bmm", "aten::mv", "aten::dot", "aten::inner"),
            *("aten::vdot", "aten::linalg_vecdot", "aten::linalg_matmul", "aten::_int_mm"),
        ),
        _counted("matmul", _product),
    ),
    **dict.fromkeys(
        ("aten::baddbmm", "aten::baddbmm_", "aten::addmv", "aten::addmv_", "aten::addmm_"),
        _counted("matmul", _added_product),
    ),
    **dict.fromkeys(("aten::addbmm", "aten::addbmm_"), _counted("matmul", _summed_products)),
    "aten::bilinear": _counted("matmul", _bilinear),
    "aten::tensordot": _counted("matmul", _tensordot),
    "aten::einsum": _counted("einsum", _einsum),
    **dict.fromkeys(
        (
            "aten::scaled_dot_product_attention",
            # What it may be carried out by, and can be called by hand.
            *(
                "aten::_scaled_dot_product_attention_math",
                "aten::_scaled_dot_product_cudnn_attention",
            ),
            "aten::_scaled_dot_product_efficient_attention",
            "aten::_scaled_dot_product_flash_attention",
            "aten::_scaled_dot_product_flash_attention_for_cpu",
            "aten::_scaled_dot_product_fused_attention_overrideable",
        ),
        _counted("attention", _attention),
    ),
    **dict.fromkeys(
        ("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"),
        _counted("recurrent", _recurrent),
    ),
    **dict.fromkeys(
        ("aten::lstm_cell", "aten::gru_cell", "aten::rnn_tanh_cell", "aten::rnn_relu_cell"),
        _counted("recurrent", _recurrent_cell),
    ),
    "aten::_convolution_mode": _counted("conv", _convolution),
}
# Names of counts that are matrix products; batch norm and pooling come on top.
PRODUCTS = ("conv", "linear", "addmm", "matmul", "bmm", "einsum", "attention", "recurrent")

# What counts nothing by convention, beside all that torch itself calls pointwise, or a view:
# reductions, normalisation, what pools, moves, chooses or makes values.
_NAMES_OF_NOTHING = """
Int Bool Float ScalarImplicit IntImplicit size dim len __getitem__ item numel tensor sum mean
amax amin max min argmax argmin prod any all norm linalg_vector_norm logsumexp var std
var_mean std_mean cumsum cumprod softmax log_softmax _softmax _log_softmax count_nonzero
median frobenius_norm nuclear_norm normalize cosine_similarity pairwise_distance
cross_entropy_loss layer_norm group_norm instance_norm batch_norm rms_norm local_response_norm
_weight_norm max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
max_pool2d_with_indices adaptive_avg_pool1d adaptive_avg_pool3d adaptive_max_pool1d
adaptive_max_pool2d adaptive_max_pool3d lp_pool2d fractional_max_pool2d cat stack hstack
vstack dstack concat concatenate block_diag index index_select index_put index_put_ index_add
gather scatter scatter_ scatter_add scatter_add_ masked_select masked_scatter take
take_along_dim embedding one_hot nonzero where roll flip fliplr flipud rot90 constant_pad_nd
pad reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d replication_pad3d
repeat repeat_interleave tile clone contiguous copy_ to type_as _to_copy pixel_shuffle
pixel_unshuffle channel_shuffle im2col col2im unfold fold meshgrid cartesian_prod tril triu
tril_indices triu_indices diag diag_embed sort topk argsort unique searchsorted bucketize
multinomial bernoulli bernoulli_ dropout dropout_ feature_dropout alpha_dropout rand randn
rand_like randn_like randint randperm normal normal_ uniform_ empty zeros ones full arange
linspace empty_like zeros_like ones_like full_like new_empty new_zeros new_ones new_full eye
scalar_tensor upsample_nearest1d upsample_nearest3d upsample_linear1d upsample_bicubic2d
upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa affine_grid_generator glu
prelu rrelu fake_quantize_per_tensor_affine quantize_per_tensor dequantize detach alias
broadcast_tensors split_with_sizes tensor_split unsafe_chunk unsafe_split resolve_conj
resolve_neg fill fill_ zero zero_ lift_fresh format warn is_floating_point
hardswish log_sigmoid exponential_ feature_alpha_dropout logcumsumexp cummax cummin _unique2
unique_dim unique_consecutive aminmax trapezoid trapz diff quantile nanquantile histc bincount
nansum nanmean nanmedian mode kthvalue renorm outer ger kron cross linalg_cross addr trace vander
combinations expand_copy view_copy _unsafe_view embedding_bag _pack_padded_sequence
_pad_packed_sequence to_sparse to_dense _upsample_nearest_exact1d _upsample_nearest_exact2d
_upsample_nearest_exact3d _shape_as_tensor max_unpool2d max_unpool3d equal allclose
"""
_NOTHING = frozenset(_NAMES_OF_NOTHING.split())


def without_a_count(operators: Sequence[str]) -> list[str]:
    """Those of the operators that have no handle and may well do work that is worth a count."""
    return [name for name in operators if not _counts_nothing(name)]


def _counts_nothing(operator: str) -> bool:
    namespace, _, name = operator.partition("::")
    if namespace != "aten":
        return False
    name = name.rstrip("_") if not name.startswith("__") else name
    if name in _NOTHING or f"{name}_" in _NOTHING:
        return True
    packet = getattr(torch.ops.aten, name, None) or getattr(torch.ops.aten, f"{name}_", None)
    if packet is None:
        return False
    overloads = [getattr(packet, overload) for overload in packet.overloads()]
    return any(torch.Tag.pointwise in one.tags for one in overloads) or any(
        result.alias_info is not None and not result.alias_info.is_write
        for one in overloads
        for result in one._schema.returns
    )
