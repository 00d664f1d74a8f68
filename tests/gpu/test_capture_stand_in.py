"""The stand-in's CUDA graphs: recorded and not executed, repeated on the very same memory, and strict about both."""

import numpy as np
import pytest
from gpu import capture_stand_in as capture
from gpu import cupy_stand_in as stand_in

CUPY = stand_in.MODULE
REFUSED = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"


@pytest.fixture(autouse=True)
def _nothing_left_behind():
    yield
    capture.reset()


def captured(work, pool=None):
    """Return the graph of what ``work()`` does, and what it returned."""
    pool, stream = pool or CUPY.cuda.MemoryPool(), CUPY.cuda.Stream(non_blocking=True)
    with CUPY.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        made = work()
        return stream.end_capture(), made, pool


def test_what_is_captured_is_not_executed():
    x = stand_in.asarray(np.arange(3.0))

    def work():
        nonlocal x
        y = CUPY.exp(x * 2)[1:].sum()
        x += 1
        x[0] = y
        return y

    graph, y, pool = captured(work)
    assert x.get().tolist() == [0, 1, 2]
    assert np.isnan(y.get())
    graph.launch()
    assert float(y) == np.exp([2.0, 4.0]).sum()
    assert x.get().tolist() == [float(y), 2, 3]
    graph.launch()
    assert float(y) == np.exp([4.0, 6.0]).sum()
    assert pool.alive


def test_kernels_are_recorded_with_their_arguments(gpu):
    if gpu is not stand_in.MODULE:
        pytest.skip("there is a GPU")
    code = (
        'extern "C" __global__ void twice(double* x, long long count) { if (threadIdx.x < count) x[threadIdx.x] *= 2; }'
    )
    kernel = stand_in.RawModule(code=code).get_function("twice")
    x = stand_in.asarray(np.ones(3))
    graph, _, pool = captured(lambda: kernel((1,), (4,), (x, np.int64(2))))
    assert x.get().tolist() == [1, 1, 1]
    graph.launch()
    graph.launch()
    assert x.get().tolist() == [4, 4, 1]
    assert pool.alive


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.get(),
        lambda x: bool(x.sum()),
        lambda x: float(x.sum()),
        lambda x: int(x.sum()),
        lambda x: x.item(),
        lambda x: f"{x}",
        lambda x: x[x > 0],
        lambda x: CUPY.nonzero(x),
        lambda x: CUPY.concatenate([x, x]),  # CuPy copies a table of addresses
        lambda x: stand_in.asarray(np.ones(3)),
        lambda x: x.set(np.ones(1)),
        lambda x: CUPY.cuda.get_current_stream().synchronize(),
        lambda x: CUPY.cuda.Stream().begin_capture(),
    ],
)
def test_what_waits_or_copies_is_refused_and_the_capture_is_lost(look):
    x, stream = stand_in.asarray(np.ones(1)), CUPY.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        assert stream.is_capturing()
        with pytest.raises(CUPY.cuda.runtime.CUDARuntimeError, match=REFUSED):
            look(x)
        with pytest.raises(CUPY.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
    assert not stream.is_capturing()
    look(x)


def test_another_stream_and_the_default_one_are_refused():
    x, stream = stand_in.asarray(np.ones(1)), CUPY.cuda.Stream(non_blocking=True)
    with pytest.raises(CUPY.cuda.runtime.CUDARuntimeError, match=REFUSED):
        CUPY.cuda.get_current_stream().begin_capture()
    with stream:
        stream.begin_capture()
        with CUPY.cuda.Stream(), pytest.raises(CUPY.cuda.runtime.CUDARuntimeError, match="Implicit"):
            x + 1
        stream.end_capture()


def test_an_array_that_was_freed_is_found():
    x = stand_in.asarray(np.ones(2))
    graph, y, pool = captured(lambda: x.reshape(2, 1).T * 3)
    graph.launch()
    assert y.get().tolist() == [[3, 3]]
    x = stand_in.asarray(np.zeros(2))
    with pytest.raises(CUPY.cuda.runtime.CUDARuntimeError, match="was freed since it was captured"):
        graph.launch()
    assert x.size
    assert pool.alive


def test_memory_that_somebody_else_may_get_is_found():
    x, stream = stand_in.asarray(np.ones(2)), CUPY.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        y = x + 1
        shared = stream.end_capture()
    graph, z, pool = captured(lambda: x + 1)
    graph.launch()
    pool.free_all_blocks()
    for lost in (shared, graph):
        with pytest.raises(CUPY.cuda.runtime.CUDARuntimeError, match="memory went back to a pool"):
            lost.launch()
    assert y.shape == z.shape


def test_every_name_is_one_of_cupys():
    cupy = pytest.importorskip(
        "cupy", reason="CuPy is not installed: the stand-in's names cannot be compared with its own"
    )
    for ours in (capture.Stream, capture.Graph, capture.MemoryPool):
        theirs = getattr(cupy.cuda, ours.__name__)
        names = [name for name in vars(ours) if not name.startswith("_")]
        assert [name for name in names if not hasattr(theirs, name)] == []
    for name in ("get_current_stream", "using_allocator"):
        assert hasattr(cupy.cuda, name)
