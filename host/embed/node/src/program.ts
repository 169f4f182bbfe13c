// Finds the program `whereby`.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** The platform, as in the names of the packages that bring the program. */
export const PLATFORM = `${process.platform}-${process.arch}`;

/** What to do if there is no program. */
export const HINT = "install it with `cargo install whereby-agent`, or pass its path as `program`";

/**
 * Returns the path of the program in the platform's package, if that is installed inside of this package or beside it.
 * It isn't looked for in the folders above, where others may put another one.
 */
export function findProgram(): string | undefined {
  const program = `whereby-agent-${PLATFORM}/bin/whereby`;
  // Yarn's Plug'n'Play has no such folders, and resolves only what is a dependency.
  if (process.versions["pnp"] !== undefined) return createRequire(import.meta.url).resolve(program);
  const places = ["../node_modules/", "../../"].map((folder) => new URL(folder + program, import.meta.url));
  return places.map((place) => fileURLToPath(place)).find((path) => existsSync(path));
}
