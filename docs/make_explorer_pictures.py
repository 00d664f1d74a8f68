"""Write the pictures of docs/explorers.md: ``python docs/make_explorer_pictures.py``."""

from pathlib import Path

from minisegnet import figures
from minisegnet.explorers.convolution import draw_convolution
from minisegnet.explorers.dilation import draw_dilation

HERE = Path(__file__).parent / "pictures"

if __name__ == "__main__":
    figures.save(draw_convolution(padding=1, position=7, product=5).picture, HERE / "explorer_convolution.svg")
    figures.save(draw_dilation(3, 2, 2, 2, 1).picture, HERE / "explorer_dilation.svg")
