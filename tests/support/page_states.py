"""What every state of the page is held to: axe's rules, contrast over whatever picture shines through, and measures.

    problems = judge(page)      # nothing, or lines that say what is wrong where

axe-core is a tool of the page (tools/page); `make check-page` installs it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from .page_measures import CONTRAST_JS, edges, names, sizes

AXE = Path(__file__).parents[2] / "tools" / "page" / "node_modules" / "axe-core" / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_AXE = """async (tags) => {
  // Two frames: what has just changed is drawn.
  for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
  const { violations } = await axe.run(document, {
    runOnly: tags, resultTypes: ["violations"], elementRef: false, preload: false,
    // Forced colours are the person's own.
    rules: { "color-contrast": { enabled: !matchMedia("(forced-colors: active)").matches } },
  });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, any }) => {
    const { fgColor, bgColor } = any[0]?.data ?? {};
    return `${id}: ${target.join(" ")}${bgColor ? ` ${fgColor} on ${bgColor}` : ""}`;
  }));
}"""
#: Text on translucent panels must be read over black pictures and over white ones; axe does not look through.
_CONTRAST = (
    """() => {"""
    + CONTRAST_JS
    + """
  if (matchMedia("(forced-colors: active)").matches) return [];
  const parse = (text) => {
    const found = /^rgba?\\(([^)]+)\\)$/.exec(text);
    if (!found) return null;
    const [r, g, b, a = 1] = found[1].split(/[ ,/]+/).map(Number);
    return [r, g, b, a];
  };
  const bottom = new Set([document.documentElement, document.body, document.querySelector("#stage")]);
  const ground = parse(getComputedStyle(document.querySelector("#stage")).backgroundColor).slice(0, 3);
  const problems = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim().slice(0, 30);
    if (!text || element.closest(":disabled, [inert], noscript, option, .visually-hidden, .skip")) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    if (box.width < 2 || box.bottom < 0 || box.top > innerHeight || box.right < 0 || box.left > innerWidth) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const layers = [];
    let opacity = 1;
    for (let at = element; at && !bottom.has(at); at = at.parentElement) {
      const style = getComputedStyle(at);
      opacity *= Number(style.opacity);
      const layer = parse(style.backgroundColor);
      if (layer && layer[3] > 0) layers.push(layer);
      if (layer && layer[3] === 1) break;
    }
    const style = getComputedStyle(element);
    const colour = parse(style.color);
    if (!colour) continue;
    const opaque = layers.at(-1)?.[3] === 1;
    const grounds = opaque || layers.length === 0 ? [ground] : [[0, 0, 0], [255, 255, 255]];
    const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    const least = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    for (const under of grounds) {
      const back = layers.reduceRight((below, layer) => over(layer, below), under);
      const front = over([...colour.slice(0, 3), colour[3] * opacity], back);
      const found = ratio(front, back);
      if (found < least)
        problems.add(`contrast ${found.toFixed(2)} of ${least}: ${element.className || element.tagName} "${text}"`);
    }
  }
  return [...problems];
}"""
)
_NARROW = """() => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  return wide > 0 ? [`the page scrolls sideways by ${wide} px`] : [];
}"""


_SETTLED = """async () => {
    // Nothing is on its way longer than a frame.
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const ends = ({ effect }) => effect.getComputedTiming().endTime < 10_000;
    for (let looks = 0; looks < 4; looks += 1) {
        await new Promise((done) => setTimeout(done, 50));
        for (const each of document.getAnimations().filter(ends)) each.finish();
    }
}"""


def settle(page: Page) -> None:
    """Let what is on its way from one colour or place to another arrive."""
    page.evaluate(_SETTLED)


def judge(page: Page) -> list[str]:
    """Return what is wrong with what is on the screen now."""
    if not page.evaluate("'axe' in window"):
        if not AXE.exists():
            pytest.fail("axe-core is not installed: make check-page")
        page.evaluate(AXE.read_text())
    settle(page)
    problems: list[str] = page.evaluate(_AXE, _RULES)
    problems += [*page.evaluate(_CONTRAST), *page.evaluate(_NARROW)]
    return [*problems, *sizes(page), *names(page), *edges(page)]
