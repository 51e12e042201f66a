/** Which package manager to use, and one run of its `install`. */

import { spawn, spawnSync } from "node:child_process";

/** @typedef {import("./options.js").PackageManager} PackageManager */

/**
 * The one that runs this; under npx, pnpm where it is installed, because the guide goes on with `pnpm run dev`.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {() => boolean} [pnpmInstalled]
 * @returns {PackageManager}
 */
export function detectPackageManager(env, pnpmInstalled = pnpmRuns) {
  if (env.npm_config_user_agent?.startsWith("pnpm/")) return "pnpm";
  return pnpmInstalled() ? "pnpm" : "npm";
}

function pnpmRuns() {
  return spawnSync("pnpm --version", { shell: true, stdio: "ignore", timeout: 10_000 }).status === 0;
}

/**
 * Install the packages of `folder`; what the package manager prints is shown as it comes.
 *
 * @param {PackageManager} packageManager
 * @param {string} folder
 * @returns {Promise<"installed" | "failed" | "cancelled">}
 */
export function install(packageManager, folder) {
  const quiet = packageManager === "npm" ? " --no-audit --no-fund" : "";
  return new Promise((done) => {
    let cancelled = false;
    // The terminal sends Ctrl-C to the package manager as well: it ends by itself, then we go on.
    const onSignal = () => (cancelled = true);
    process.once("SIGINT", onSignal);
    process.once("SIGTERM", onSignal);
    const child = spawn(`${packageManager} install${quiet}`, { cwd: folder, shell: true, stdio: "inherit" });
    /** @param {boolean} ok */
    const finish = (ok) => {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
      done(cancelled ? "cancelled" : ok ? "installed" : "failed");
    };
    child.once("error", () => finish(false));
    child.once("close", (status, signal) => {
      cancelled ||= signal === "SIGINT";
      finish(status === 0);
    });
  });
}
