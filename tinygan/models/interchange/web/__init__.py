"""A page in which a generator runs: one file, for any browser, without a network.

    export_page(run.generator, "generator.html", low=run.low, high=run.high)

``lowering`` makes of layers the few operations that ``network.js`` computes, and of their weights one array; ``page``
puts both into ``page.html``, with ``page.js``, which draws; ``elsewhere`` has other programs make the same images. Of
tinygan, the book, further layers, blocks, what is known of classes, and the other ways out in the folder above are
imported.
"""

from .elsewhere import elsewhere
from .page import export_page, page

__all__ = ["elsewhere", "export_page", "page"]
