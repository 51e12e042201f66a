import assert from "node:assert/strict";
import { test } from "node:test";

import { parseOptions, UsageError } from "../src/options.js";

const NOTHING = {
  name: undefined, template: undefined, packageManager: undefined, install: true, yes: false, help: false, version: false,
};

test("an empty command line leaves everything to be asked", () => {
  assert.deepEqual(parseOptions([]), NOTHING);
});

test("everything that is asked has a flag", () => {
  assert.deepEqual(parseOptions(["demo", "--template", "matrix", "--package-manager", "npm", "--no-install", "--yes"]), {
    ...NOTHING, name: "demo", template: "matrix", packageManager: "npm", install: false, yes: true,
  });
  assert.deepEqual(parseOptions(["-t", "longlive", "-p", "pnpm", "-y", "demo"]), {
    ...NOTHING, name: "demo", template: "longlive", packageManager: "pnpm", yes: true,
  });
});

for (const [argv, says] of /** @type {[string[], RegExp][]} */ ([
  [["one", "two"], /One project name, please; got "one" and "two"/],
  [["--template", "nope"], /--template takes dynamic, longlive, matrix; got "nope"/],
  [["--package-manager", "yarn"], /--package-manager takes pnpm, npm; got "yarn"/],
  [["--nope"], /--nope/],
  [["--template"], /--template/],
])) {
  test(`"${argv.join(" ")}" is refused with the reason`, () => {
    assert.throws(() => parseOptions(argv), (error) => error instanceof UsageError && says.test(error.message));
  });
}
