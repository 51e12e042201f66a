/** Elements without markup in strings: all text goes through `textContent`, so nothing can be injected. */

const SVG = "http://www.w3.org/2000/svg";
let count = 0;

/** A document-unique id that starts with `prefix`. */
export function uniqueId(prefix) {
  count += 1;
  return `${prefix}-${count}`;
}

/**
 * Make an element. `props` are DOM properties, except `class`, `data` (dataset), `on` (listeners) and names
 * with a dash or `role`, which become attributes. Null and false children are left out; strings become text.
 */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on")
      for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** An icon from the page's symbol sheet. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** The element with this id, which the page is known to have. */
export const byId = (id) => document.getElementById(id);
