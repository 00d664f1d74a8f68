"""Run a lesson or the explorers with everything new on the GPU, or on its stand-in; a process of its own for each.

MINISEGNET_DEVICE=cuda python tests/gpu/lesson_on_gpu.py 05_down
MINISEGNET_DEVICE=cuda python tests/gpu/lesson_on_gpu.py explorers overlay pooling
"""

import os
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def main(what, *names):
    """Do it, and print how often kernels ran on the GPU's arrays."""
    import matplotlib

    matplotlib.use("Agg")
    from gpu import compiled_seats

    import minisegnet as ms
    from minisegnet import backend

    assert ms.get_default_device() == "cuda"
    with nullcontext() if ms.cuda_is_available() else compiled_seats.installed():
        called, find = [], backend.find_kernel

        def counted(name, of):
            kernel = find(name, of)
            return kernel if of != "cupy" else lambda *args, **options: called.append(name) or kernel(*args, **options)

        backend.find_kernel = counted
        failed = explorers(names) if what == "explorers" else lesson(what)
    print(f"\nkernels on the GPU: {len(called)}")
    return failed


def lesson(name):
    """Run the code cells of a lesson, one after the other, in the folder of the notebooks."""
    from IPython.display import display

    import __main__
    from minisegnet.course import build

    os.chdir(ROOT / "notebooks")
    space = vars(__main__)
    space.update(display=display)
    for number, cell in enumerate(build.read_source(ROOT / "notebooks" / "sources" / f"{name}.py").cells):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"cell {number} of {name}", "exec"), space)
    return 0


def watch_a_training():
    """Let the monitor look at a training, at images and labels that are on the GPU."""
    import minisegnet as ms
    from minisegnet import data, explorers, losses, nn, optim, training

    pictures, labels = data.synthetic_tissue(2, size=(32, 32), seed=0)
    pixels, labels = pictures.transpose(0, 3, 1, 2).astype("float32") / 255, (labels > 0).astype(int)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    watched = explorers.monitor(ms.tensor(pixels), ms.tensor(labels))
    optimizer = optim.Adam(net.parameters(), 0.01)
    training.fit(
        net, [(pixels, labels)] * 5, loss=losses.CrossEntropyLoss(), optimizer=optimizer, epochs=2, callbacks=[watched]
    )
    print("monitor drawn")


def explorers(names):
    """Draw explorers in their first state, in every preset, and where their discovery is."""
    from minisegnet import explorers

    failed = 0
    for name in names:
        try:
            if name == "monitor":
                watch_a_training()
                continue
            made = getattr(explorers, name)()
            for preset in made.presets:
                made.choose(preset)
            made.discover()
            assert made._repr_mimebundle_()["text/html"]
            print(name, "drawn")
        except Exception:
            failed += 1
            print(f"\n{name} failed\n{traceback.format_exc()}")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
