"""HTML from values: every text is escaped here, once."""

from html import escape

Text = str | int | float


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: Text, **attributes: Text) -> Markup:
    """Return an element; children and attributes that are not markup are escaped. ``class_`` stands for class."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{pairs}>{join(*children)}</{name}>")


def join(*children: Text) -> Markup:
    """Return children one after another."""
    return Markup("".join(child if isinstance(child, Markup) else escape(str(child)) for child in children))


def picture(data: str, alt: str, width: int, height: int) -> Markup:
    """Return an image of base64 WebP."""
    return Markup(
        f'<img loading="lazy" decoding="async" width="{width}" height="{height}" alt="{escape(alt)}" '
        f'src="data:image/webp;base64,{data}">'
    )
