// Paths for the scripts and the tests.

import { fileURLToPath } from "node:url";

/** The directory of this package. */
export const PACKAGE = new URL("../", import.meta.url);

/** The program `whereby`: $WHEREBY, else the debug build of this repository. */
export function program() {
  return process.env.WHEREBY ?? fileURLToPath(new URL("../../../target/debug/whereby", PACKAGE));
}
