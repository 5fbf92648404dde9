"""How out of focus every pixel of a photograph is, in pixels.

The public names are listed in `__init__.pyi`; each is imported when it is first used, so `import defocus` is quick.

>>> import defocus
>>> m = defocus.estimate("photo.jpg")      # doctest: +SKIP
>>> m.sigma                                # float32 H x W, in px of the photograph   # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
