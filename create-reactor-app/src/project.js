/**
 * The folder that is made: whether it may be, its files, and how to take it back.
 *
 * Files are copied into place at once; whoever cancels later calls `remove`, and nothing is left.
 */

import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

import validatePackageName from "validate-npm-package-name";

import { TEMPLATES, TEMPLATES_FOLDER } from "./templates.js";

/** npm leaves these out of a package or reads them as its own, so they travel under another name. */
const RENAMED = { _gitignore: ".gitignore", _env: ".env" };

/**
 * Return why a project of this name cannot be made in `parent`, or undefined if it can.
 *
 * @param {string} name
 * @param {string} parent
 * @returns {string | undefined}
 */
export function whyNot(name, parent) {
  const { validForNewPackages, errors = [], warnings = [] } = validatePackageName(name);
  if (!validForNewPackages) return `"${name}" cannot be a package: ${[...errors, ...warnings][0]}.`;
  const folder = folderOf(name, parent);
  if (!existsSync(folder)) return undefined;
  try {
    if (readdirSync(folder).length === 0) return undefined;
  } catch {
    return `"${folderName(name)}" exists and is not a folder.`;
  }
  return `The folder "${folderName(name)}" exists and is not empty.`;
}

/**
 * The folder's name: the package's without its scope.
 *
 * @param {string} name
 */
export function folderName(name) {
  return name.slice(name.indexOf("/") + 1);
}

/**
 * @param {string} name
 * @param {string} parent
 */
export function folderOf(name, parent) {
  return resolve(parent, folderName(name));
}

/**
 * Write the project and return how to take it back. A failure takes back what it wrote before it throws.
 *
 * @param {string} name one that `whyNot` has nothing against
 * @param {{ parent: string, template: import("./templates.js").TemplateName }} where
 * @returns {{ folder: string, remove: () => void }}
 */
export function createProject(name, { parent, template }) {
  const folder = folderOf(name, parent);
  const existed = existsSync(folder);
  const remove = () => {
    if (!existed) return rmSync(folder, { recursive: true, force: true });
    for (const entry of readdirSync(folder)) rmSync(join(folder, entry), { recursive: true, force: true });
  };
  try {
    for (const layer of TEMPLATES[template].layers) {
      cpSync(join(TEMPLATES_FOLDER, layer), folder, { recursive: true });
    }
    for (const [from, to] of Object.entries(RENAMED)) renameSync(join(folder, from), join(folder, to));
    const manifest = join(folder, "package.json");
    writeFileSync(manifest, JSON.stringify({ ...JSON.parse(readFileSync(manifest, "utf8")), name }, null, 2) + "\n");
  } catch (error) {
    remove();
    throw error;
  }
  return { folder, remove };
}
