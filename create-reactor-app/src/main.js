/**
 * The conversation: what is missing is asked, the project is written, its packages are installed, and what to
 * do next is said. Returns an exit status; 2 for a command line that cannot be, 130 when cancelled.
 */

import { readFileSync } from "node:fs";

import { cancel, intro, isCancel, log, note, outro, select, text } from "@clack/prompts";
import pc from "picocolors";

import { parseOptions, USAGE, UsageError } from "./options.js";
import { detectPackageManager, install } from "./package-manager.js";
import { createProject, folderName, whyNot } from "./project.js";
import { TEMPLATES, TEMPLATE_NAMES } from "./templates.js";

/** @typedef {import("./options.js").Options} Options */
/** @typedef {import("./templates.js").TemplateName} TemplateName */

const DEFAULT_NAME = "test-app";
const DEFAULT_TEMPLATE = "dynamic";
const CANCELLED = 130;

/**
 * @param {string[]} argv without node and script
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>} the exit status
 */
export async function main(argv, env) {
  /** @type {Options} */
  let options;
  try {
    options = parseOptions(argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    return 2;
  }
  if (options.help) return say(USAGE);
  if (options.version) return say(ownVersion());

  const parent = process.cwd();
  const refusal = options.name === undefined ? undefined : whyNot(options.name, parent);
  if (refusal) {
    console.error(refusal);
    return 1;
  }

  intro(pc.bold("create-reactor-app"));
  const answers = await complete(options, parent);
  if (typeof answers === "number") return answers;
  return make(answers, options, { parent, env });
}

/**
 * Return name and template, asked for where they are missing, or an exit status.
 *
 * @param {Options} options
 * @param {string} parent
 * @returns {Promise<{ name: string, template: TemplateName } | number>}
 */
async function complete({ name, template, yes }, parent) {
  const missing = name === undefined || template === undefined;
  if (missing && !yes && !(process.stdin.isTTY && process.stdout.isTTY)) {
    log.error("There is no terminal to ask on. Give a name and --template, or --yes for the defaults.");
    return 2;
  }
  if (name === undefined) {
    const answer = yes ? DEFAULT_NAME : await askName(parent);
    if (isCancel(answer)) return cancelled();
    name = answer;
  }
  if (template === undefined) {
    const answer = yes ? DEFAULT_TEMPLATE : await askTemplate();
    if (isCancel(answer)) return cancelled();
    template = answer;
  }
  // The default name has not been looked at yet.
  const refusal = whyNot(name, parent);
  if (refusal) {
    log.error(refusal);
    return 1;
  }
  return { name, template };
}

/** @param {string} parent */
function askName(parent) {
  return text({
    message: "What is the project called?",
    placeholder: DEFAULT_NAME,
    defaultValue: DEFAULT_NAME,
    validate: (typed) => whyNot(typed || DEFAULT_NAME, parent),
  });
}

function askTemplate() {
  return select({
    message: "Which template?",
    initialValue: /** @type {TemplateName} */ (DEFAULT_TEMPLATE),
    options: TEMPLATE_NAMES.map((value) => ({ value, label: TEMPLATES[value].label, hint: TEMPLATES[value].hint })),
  });
}

/**
 * @param {{ name: string, template: TemplateName }} answers
 * @param {Options} options
 * @param {{ parent: string, env: NodeJS.ProcessEnv }} where
 */
async function make({ name, template }, options, { parent, env }) {
  const project = createProject(name, { parent, template });
  log.success(`Wrote ${pc.bold(folderName(name))} from the template ${pc.bold(template)}`);

  const packageManager = options.packageManager ?? detectPackageManager(env);
  let installed = false;
  if (options.install) {
    log.step(`Installing the packages with ${packageManager}`);
    const outcome = await install(packageManager, project.folder);
    if (outcome === "cancelled") {
      project.remove();
      return cancelled();
    }
    installed = outcome === "installed";
    if (!installed) log.warn("The packages could not be installed. The project is complete otherwise.");
  }

  const steps = [
    `cd ${folderName(name)}`,
    ...(installed ? [] : [`${packageManager} install`]),
    `${packageManager} run dev`,
  ];
  note(steps.map((step) => pc.cyan(step)).join("\n"), "Next", { format: (line) => line });
  outro(`It connects to ${pc.bold("http://localhost:8080")}, where ${pc.bold("reactor run")} serves; .env changes that.`);
  return options.install && !installed ? 1 : 0;
}

function cancelled() {
  cancel("Cancelled. Nothing was left behind.");
  return CANCELLED;
}

/** @param {string} line */
function say(line) {
  console.log(line);
  return 0;
}

function ownVersion() {
  return JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
}
