"""A GRU over ragged rows by PyTorch's own kernels: on a GPU those of cuDNN."""

import keras


def recurrence(
    inputs: keras.KerasTensor,
    lengths: keras.KerasTensor,
    initial_state: keras.KerasTensor,
    kernel: keras.KerasTensor,
    recurrent: keras.KerasTensor,
    bias: keras.KerasTensor,
    return_sequences: bool,
) -> keras.KerasTensor:
    """`torch.gru` over packed rows.

    Args:
        inputs: tensor of shape `(R, T, E)`.
        lengths: int tensor of shape `(R,)`.
        initial_state: tensor of shape `(R, H)`.
        kernel, recurrent, bias: those of a `keras.layers.GRUCell`,
            `(E, 3 H)`, `(H, 3 H)` and `(2, 3 H)`.
        return_sequences: whether to return all states.

    Returns:
        `(R, T, H)`, zeros behind the end of a row, or `(R, H)`.
    """
    import torch

    rows, steps, width = inputs.shape
    units = initial_state.shape[-1]
    # PyTorch wants the numbers of rows by step on the CPU. All that depends on
    # lengths is computed there, so that the device is waited for once.
    on_cpu, order = lengths.cpu().sort(descending=True, stable=True)
    runs = on_cpu > torch.arange(steps, device="cpu")[:, None]  # (T, R)
    batch_sizes = runs.sum(dim=1)
    batch_sizes = batch_sizes[batch_sizes > 0]
    if not len(batch_sizes):
        # Sums of nothing, so that the gradients are zeros and not missing.
        tensors = inputs, initial_state, kernel, recurrent, bias
        nothing = sum(x[:0].sum() for x in tensors)
        if return_sequences:
            return inputs.new_zeros((rows, steps, units)) + nothing
        return initial_state + nothing
    time, rank = runs.nonzero(as_tuple=True)
    device = inputs.device
    place = (order[rank] * steps + time).to(device)  # in (R · T,)
    order = order[: int(batch_sizes[0])].to(device)  # without empty rows
    states, last = torch.gru(
        inputs.reshape(rows * steps, width).index_select(0, place),
        batch_sizes,
        initial_state.index_select(0, order)[None],
        _in_torch_order(kernel, recurrent, bias),
        True,  # biases
        1,  # layer
        0.0,  # dropout
        torch.is_grad_enabled(),  # whether to keep what the gradient needs
        False,  # bidirectional
    )
    if not return_sequences:
        return initial_state.index_copy(0, order, last[0])
    found = states.new_zeros((rows * steps, units))
    return found.index_copy(0, place, states).reshape(rows, steps, units)


def _in_torch_order(*weights):
    """z, r, n by column to r, z, n by row: input, recurrent, their biases.

    All are parts of one tensor, as cuDNN wants them.
    """
    import torch

    kernel, recurrent, bias = (
        torch.stack(x.chunk(3, dim=-1)) for x in weights
    )  # (3, E, H), (3, H, H), (3, 2, H)
    order = [1, 0, 2]
    parts = [
        kernel[order].transpose(1, 2).flatten(0, 1),
        recurrent[order].transpose(1, 2).flatten(0, 1),
        *bias[order].transpose(0, 1).flatten(1),
    ]
    flat = torch.cat([x.flatten() for x in parts])
    flat = flat.split([x.numel() for x in parts])
    return [x.view(y.shape) for x, y in zip(flat, parts)]
