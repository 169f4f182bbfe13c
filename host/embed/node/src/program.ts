// Finds the program `whereby`.

import { createRequire } from "node:module";

/** The platform, as in the names of the packages that bring the program. */
export const PLATFORM = `${process.platform}-${process.arch}`;

/** What to do if there is no program. */
export const HINT = "install it with `cargo install whereby-agent`, or pass its path as `program`";

/** Returns the path of the program in the platform's package, if that is installed. */
export function findProgram(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(`whereby-agent-${PLATFORM}/bin/whereby`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}
