"""Predict a slide in a process of its own, which the tests kill: ``slide_program.py SOURCE OUT TILE SCHEDULER [WAIT]``."""

import sys
import time

from minisegnet import models, random
from minisegnet.backend import use_backend
from minisegnet.scale import predict

use_backend("reference")
source, out, tile, scheduler, wait = sys.argv[1:6]


def small():
    random.manual_seed(0)
    return models.UNet(3, 2, base_channels=4, depth=1)


if __name__ == "__main__":
    mark = predict.mark

    def slowly(job, place):
        mark(job, place)
        print(place, flush=True)
        time.sleep(float(wait))

    predict.mark = slowly
    predict.predict_slide(small(), source, out, tile=int(tile), scheduler=scheduler, workers=2, progress=False)
