// Transpiles a component to JavaScript, for the bare runtime: npm run build -- FILE [DIRECTORY]

import { existsSync, rmSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { transpile } from "@bytecodealliance/jco";
import { PACKAGE } from "./paths.js";

const [file, directory = fileURLToPath(new URL("component", PACKAGE))] = process.argv.slice(2);
if (!file || !existsSync(file)) {
  console.error(
    `${file ? `there is no file ${file}` : "no component was named"}\n` +
      "usage: npm run build -- FILE [DIRECTORY], with a FILE from `whereby component export FILE`",
  );
  process.exit(2);
}
const { files } = await transpile(await readFile(file), { name: "component", instantiation: "async" });
rmSync(directory, { recursive: true, force: true });
for (const [name, content] of Object.entries(files)) {
  const path = resolve(directory, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}
console.log(`${directory}: ${Object.keys(files).length} files`);
