"""What can be measured of the page: how large what one plays with is, what is called the same, and edges that are seen.

problems = [*sizes(page), *names(page), *edges(page)]      # lines that say what is wrong where
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from playwright.sync_api import Page

#: Some only where a finger presses.
_SIZES = """() => {
  // Magnified four times, a key of 34 px measures 136 of the screen's.
  if (innerWidth <= 560 && innerHeight <= 420) return [];
  const played = [".key", ".way", ".thumb", ".primary", ".send", ".second", ".action", ".pill", ".step", ".bar button",
                  "input[type=range]", ".switch", ".quiet", "select", ".handle"];
  const touched = matchMedia("(pointer: coarse)").matches ? [".example", "summary"] : [];
  const problems = [];
  for (const element of document.querySelectorAll([...played, ...touched].join())) {
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    let { width, height } = element.getBoundingClientRect();
    if (width < 2) continue;
    const more = getComputedStyle(element, "::before");
    // The finger has more room than the eye sees.
    if (more.content !== "none" && more.position === "absolute") {
      width = element.clientWidth - Math.min(0, parseFloat(more.left) + parseFloat(more.right));
      height = element.clientHeight - Math.min(0, parseFloat(more.top) + parseFloat(more.bottom));
    }
    const name = element.dataset.testid || element.getAttribute("aria-label") || element.className || element.id;
    if (Math.min(width, height) < 43.9) problems.push(`size ${width.toFixed(0)} × ${height.toFixed(0)}: ${name}`);
  }
  return [...new Set(problems)];
}"""
#: One colour over another, and the contrast of two (WCAG 2.2, contrast ratio); channels 0 to 255.
CONTRAST_JS = """
  const over = ([r, g, b, a], under) => [r, g, b].map((value, at) => value * a + under[at] * (1 - a));
  const light = (colour) => colour.map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
"""
#: The edges of what is filled in, slid and switched, against what is beside them, over any picture.
_EDGES = (
    """() => {"""
    + CONTRAST_JS
    + """
  if (matchMedia("(forced-colors: active)").matches) return [];
  const colours = (text) => [...text.matchAll(/rgba?\\(([^)]+)\\)/g)].map(([, inner]) => {
    const [r, g, b, a = 1] = inner.split(/[ ,/]+/).map(Number);
    return [r, g, b, a];
  });
  const groundsOf = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const [layer] = colours(getComputedStyle(at).backgroundColor);
      if (layer?.[3] > 0) layers.push(layer);
      if (layer?.[3] === 1) break;
    }
    return [[0, 0, 0], [255, 255, 255]].map((under) => layers.reduceRight((below, layer) => over(layer, below), under));
  };
  // What a rule paints on a part that scripts cannot look at.
  const painted = (element, part) => {
    const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
    const rule = rules.find(({ selectorText }) => selectorText === `input[type="range"]${part}`);
    const probe = document.createElement("i");
    probe.style.background = rule.style.background;
    element.parentElement.append(probe);
    const found = colours(getComputedStyle(probe).backgroundImage);
    probe.remove();
    return found;
  };
  const problems = new Set();
  const judge = (element, what, candidates, ground) => {
    const best = Math.max(...candidates.map((colour) => ratio(over(colour, ground), ground)));
    const name = element.dataset.testid || element.id || element.className || element.type;
    if (best < 3) problems.add(`${what} ${best.toFixed(2)} of 3: ${name}`);
  };
  const framed = "input, textarea, select, .stepper, .pills, .drop, .key, .action, .example";
  for (const element of document.querySelectorAll(framed)) {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.matches(":disabled, .play *, .invitation *, .visually-hidden, .stepper input, [type=file]")) continue;
    if (element.closest("[inert]") || element.getBoundingClientRect().width < 2) continue;
    const style = getComputedStyle(element);
    const [fill] = colours(style.backgroundColor);
    for (const ground of groundsOf(element.parentElement)) {
      if (element.type === "range") {
        for (const colour of painted(element, "::-webkit-slider-runnable-track"))
          judge(element, "track", [colour], ground);
        continue;
      }
      const inside = [...over(fill, ground), 1];
      const border = parseFloat(style.borderTopWidth) > 0 ? colours(style.borderTopColor) : [];
      const outline = style.outlineStyle === "none" ? [] : colours(style.outlineColor);
      judge(element, "edge", [inside, ...outline, ...border.map((colour) => [...over(colour, inside), 1])], ground);
      if (!element.matches(".switch")) continue;
      const [knob] = colours(getComputedStyle(element, "::after").backgroundColor);
      judge(element, "knob", [knob], over(fill, ground));
    }
  }
  return [...problems];
}"""
)
_INTERACTIVE = {
    *("button", "link", "textbox", "searchbox", "checkbox", "switch", "radio", "slider", "spinbutton"),
    *("combobox", "DisclosureTriangle", "ColorWell", "menuitem", "tab"),
}
#: Within these, names need to differ from each other only.
_GROUPS = {"group", "form", "list", "radiogroup", "dialog", "region", "search"}


def sizes(page: Page) -> list[str]:
    """Return what of what one plays with is smaller than a fingertip, 44 px."""
    found: list[str] = page.evaluate(_SIZES)
    return found


def edges(page: Page) -> list[str]:
    """Return the edges, tracks and switches whose contrast is below 3:1."""
    found: list[str] = page.evaluate(_EDGES)
    return found


def names(page: Page) -> list[str]:
    """Return what has no name, and what is called like something else beside it, as a screen reader is told."""
    # What a screen reader is told follows the page a moment later.
    found = _names(page)
    if found:
        page.wait_for_timeout(200)
        found = _names(page)
    return found


def _names(page: Page) -> list[str]:
    devtools = page.context.new_cdp_session(page)
    nodes: list[dict[str, Any]] = devtools.send("Accessibility.getFullAXTree")["nodes"]
    devtools.detach()
    by_id = {node["nodeId"]: node for node in nodes}

    def says(node: dict[str, Any], key: str) -> str:
        return str(node.get(key, {}).get("value", ""))

    def place(node: dict[str, Any]) -> str:
        path = []
        while (above := by_id.get(node.get("parentId", ""))) is not None:
            node = above
            if not node["ignored"] and says(node, "role") in _GROUPS and says(node, "name"):
                path.append(says(node, "name"))
        return " in ".join(path)

    called = Counter(
        (says(node, "name"), place(node))
        for node in nodes
        if not node["ignored"] and says(node, "role") in _INTERACTIVE
    )
    return [
        f"{count} × the name “{name}” in {where or 'the page'}"
        for (name, where), count in called.items()
        if count > 1 or not name
    ]
