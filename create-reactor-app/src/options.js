/** The command line as a value. Pure: nothing is asked, read or written here. */

import { parseArgs } from "node:util";

import { TEMPLATES, TEMPLATE_NAMES } from "./templates.js";

/** @typedef {import("./templates.js").TemplateName} TemplateName */
/** @typedef {"pnpm" | "npm"} PackageManager */

/**
 * @typedef {object} Options
 * @property {string | undefined} name
 * @property {TemplateName | undefined} template
 * @property {PackageManager | undefined} packageManager
 * @property {boolean} install
 * @property {boolean} yes
 * @property {boolean} help
 * @property {boolean} version
 */

/** The command line cannot be understood; the message says what to write instead. */
export class UsageError extends Error {}

export const USAGE = `Usage: create-reactor-app [name] [options]

Makes a front end for a model that \`reactor run\` serves. Asks for what is missing.

  -t, --template <name>        ${TEMPLATE_NAMES.join(" | ")}
  -p, --package-manager <name> pnpm | npm (default: the one that runs this, else pnpm if there is one)
      --no-install             do not install the packages
  -y, --yes                    ask nothing: "test-app" and "dynamic" unless given
  -h, --help                   show this
  -v, --version                show the version

Templates:
${TEMPLATE_NAMES.map((name) => `  ${name.padEnd(10)} ${TEMPLATES[name].hint}`).join("\n")}`;

/**
 * @param {string[]} argv without node and script
 * @returns {Options}
 * @throws {UsageError}
 */
export function parseOptions(argv) {
  const { values, positionals } = parse(argv);
  if (positionals.length > 1) {
    throw new UsageError(`One project name, please; got ${positionals.map((p) => `"${p}"`).join(" and ")}.`);
  }
  return {
    name: positionals[0],
    template: oneOf("--template", values.template, TEMPLATE_NAMES),
    packageManager: oneOf("--package-manager", values["package-manager"], ["pnpm", "npm"]),
    install: values.install ?? true,
    yes: values.yes ?? false,
    help: values.help ?? false,
    version: values.version ?? false,
  };
}

/** @param {string[]} argv */
function parse(argv) {
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      allowNegative: true,
      options: {
        template: { type: "string", short: "t" },
        "package-manager": { type: "string", short: "p" },
        install: { type: "boolean" },
        yes: { type: "boolean", short: "y" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean", short: "v" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/**
 * @template {string} T
 * @param {string} flag
 * @param {string | undefined} value
 * @param {readonly T[]} allowed
 * @returns {T | undefined}
 */
function oneOf(flag, value, allowed) {
  if (value === undefined) return undefined;
  const found = allowed.find((name) => name === value);
  if (found === undefined) throw new UsageError(`${flag} takes ${allowed.join(", ")}; got "${value}".`);
  return found;
}
