// Runs before `npm pack` and `npm publish`. npm leaves out a bundled library that is not installed and says nothing: who
// runs such a package then meets "Cannot find package". So what the lock file bundles must be here, in its version.
import { readFileSync } from "node:fs";

/** @param {string} path */
const read = (path) => JSON.parse(readFileSync(new URL(`../${path}`, import.meta.url), "utf8"));

/** @param {string} path @param {string} version */
const problemWith = (path, version) => {
  try {
    const found = read(`${path}/package.json`).version;
    return found === version ? [] : [`${path} is ${found} and should be ${version}`];
  } catch {
    return [`${path} is missing`];
  }
};

/** @type {[string, { dev?: boolean, version: string }][]} */
const locked = Object.entries(read("package-lock.json").packages);
const problems = locked.flatMap(([path, { dev, version }]) => (path && !dev ? problemWith(path, version) : []));
if (problems.length) {
  console.error(`create-reactor-app: the bundled libraries are not all here:\n  ${problems.join("\n  ")}\n  Fix: npm ci`);
  process.exit(1);
}
