"""How a page has to look in every width and colour scheme."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import Visitor


def look(visitor: Visitor, name: str) -> None:
    """In both widths and colour schemes: nothing to scroll sideways, nothing that axe objects to."""
    page, found = visitor.page, {}
    for width in (390, 1280):
        for scheme in ("dark", "light"):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            visitor.shot(f"{name}-{width}-{scheme}")
            if wide := page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"):
                found[f"{width} {scheme} sideways"] = wide
            if violations := Axe().run(page).response["violations"]:
                found[f"{width} {scheme}"] = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations]
    assert found == {}, name
