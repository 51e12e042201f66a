import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { createProject, folderOf, whyNot } from "../src/project.js";
import { TEMPLATE_NAMES } from "../src/templates.js";

let parent = "";
beforeEach(() => void (parent = mkdtempSync(join(tmpdir(), "create-reactor-app-"))));
afterEach(() => rmSync(parent, { recursive: true }));

for (const name of ["test-app", "a", "my.app_2", "@studio/front-end"]) {
  test(`"${name}" can be a project`, () => assert.equal(whyNot(name, parent), undefined));
}

for (const name of ["", "Test", "with space", "../up", "a/b", ".hidden", "_a", "node_modules", "http", "ä", "x".repeat(215)]) {
  test(`"${name.slice(0, 20)}" cannot be a project`, () => assert.match(whyNot(name, parent) ?? "", /cannot be a package/));
}

test("a folder with something in it is refused, an empty one is used", () => {
  mkdirSync(join(parent, "full", "inside"), { recursive: true });
  mkdirSync(join(parent, "empty"));
  writeFileSync(join(parent, "file"), "");
  assert.match(whyNot("full", parent) ?? "", /"full" exists and is not empty/);
  assert.match(whyNot("@me/full", parent) ?? "", /"full" exists and is not empty/);
  assert.match(whyNot("file", parent) ?? "", /"file" exists and is not a folder/);
  assert.equal(whyNot("empty", parent), undefined);
});

for (const template of TEMPLATE_NAMES) {
  test(`the template ${template} becomes a project of the given name`, () => {
    const { folder } = createProject("@studio/front-end", { parent, template });
    assert.equal(folder, folderOf("front-end", parent));
    assert.equal(JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).name, "@studio/front-end");
    const files = readdirSync(folder);
    for (const file of [".env", ".gitignore", "README.md", "index.html", "src"]) assert.ok(files.includes(file), file);
    assert.deepEqual(files.filter((file) => file.startsWith("_")), []);
  });
}

test("a project that is taken back leaves nothing, and an empty folder as it was", () => {
  createProject("made", { parent, template: "dynamic" }).remove();
  assert.ok(!existsSync(join(parent, "made")));
  mkdirSync(join(parent, "empty"));
  createProject("empty", { parent, template: "dynamic" }).remove();
  assert.deepEqual(readdirSync(join(parent, "empty")), []);
});
