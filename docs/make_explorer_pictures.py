"""Write the pictures of docs/explorers.md: ``python docs/make_explorer_pictures.py``."""

from pathlib import Path

from minisegnet import figures
from minisegnet.explorers.convolution import draw_convolution
from minisegnet.explorers.depthwise import draw_depthwise
from minisegnet.explorers.dice import draw_dice
from minisegnet.explorers.dilation import draw_dilation

HERE = Path(__file__).parent / "pictures"

if __name__ == "__main__":
    figures.save(draw_convolution(padding=1, position=7, product=5).picture, HERE / "explorer_convolution.svg")
    depthwise = draw_depthwise(inputs=128, outputs=128, size=56)
    figures.save(depthwise.picture, HERE / "explorer_depthwise.svg")
    figures.save(draw_dice("four nuclei", 12, dx=1).picture, HERE / "explorer_dice.svg")
    figures.save(draw_dilation(3, 2, 2, 2, 1).picture, HERE / "explorer_dilation.svg")
