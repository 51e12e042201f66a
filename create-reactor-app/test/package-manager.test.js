import assert from "node:assert/strict";
import { test } from "node:test";

import { detectPackageManager } from "../src/package-manager.js";

test("pnpm is used when pnpm runs this", () => {
  assert.equal(detectPackageManager({ npm_config_user_agent: "pnpm/10.34.8 npm/? node/v20.20.2" }, () => false), "pnpm");
});

test("under npx pnpm is used if there is one, else npm", () => {
  const env = { npm_config_user_agent: "npm/11.19.1 node/v20.20.2 linux x64" };
  assert.equal(detectPackageManager(env, () => true), "pnpm");
  assert.equal(detectPackageManager(env, () => false), "npm");
  assert.equal(detectPackageManager({}, () => false), "npm");
});
