// Measures calls and the time to the first result: npm run measure
//
// It compares both runtimes and a plain fetch, against a simulator in its own process. The runtimes take turns,
// so that other load on the machine affects all of them.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PACKAGE, program } from "./paths.js";

const CALLS = 500;
const STARTS = 20;

const ONE_CALL = `
  import { WherebyComponent, bare, host } from "${new URL("dist/index.js", PACKAGE)}";
  const { WHEREBY: program, WHEREBY_ACCESS_TOKEN: accessToken, WHEREBY_API_URL: apiUrl } = process.env;
  const runtime = process.argv[1] === "bare" ? bare({ accessToken, apiUrl }) : host({ program });
  const before = performance.now();
  const whereby = await WherebyComponent.open(runtime);
  await whereby.listRooms({ limit: 2 });
  console.log(performance.now() - before);
  await whereby.close();`;

function report(what, times) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part) => sorted[Math.floor(part * (sorted.length - 1))].toFixed(2);
  console.log(`${what}: median ${at(0.5)} ms, 90 % ${at(0.9)} ms (n=${times.length})`);
}

async function timed(times, run) {
  const before = performance.now();
  await run();
  times.push(performance.now() - before);
}

const home = mkdtempSync(join(tmpdir(), "whereby-measure-"));
const env = { PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: home, XDG_STATE_HOME: home, XDG_CACHE_HOME: home };
const simulator = spawn(program(), ["simulate", "--listen", "127.0.0.1:0", "--rate-limit", "0"], {
  env,
  stdio: ["ignore", "pipe", "ignore"],
});
try {
  for await (const line of createInterface({ input: simulator.stdout })) {
    const [name, value] = line.replace("export ", "").split("=");
    env[name] = value;
    if (env.WHEREBY_API_URL && env.WHEREBY_ACCESS_TOKEN) break;
  }
  const { WherebyComponent, bare, host } = await import("../dist/index.js");
  const { WHEREBY_ACCESS_TOKEN: accessToken, WHEREBY_API_URL: apiUrl } = env;
  const opened = {
    bare: await WherebyComponent.open(bare({ accessToken, apiUrl })),
    host: await WherebyComponent.open(host({ program: program(), env })),
  };
  const times = { fetch: [], bare: [], host: [] };
  const headers = { authorization: `Bearer ${accessToken}` };
  for (let call = 0; call < CALLS; call++) {
    await timed(times.fetch, async () => (await fetch(`${apiUrl}/meetings?limit=2`, { headers })).json());
    for (const [name, whereby] of Object.entries(opened)) {
      await timed(times[name], () => whereby.listRooms({ limit: 2 }));
    }
  }
  for (const whereby of Object.values(opened)) await whereby.close();
  for (const [name, of] of Object.entries(times)) report(`one call, ${name}`, of);

  const first = { bare: [], host: [] };
  const whole = { bare: [], host: [] };
  for (let start = 0; start < STARTS; start++) {
    for (const name of Object.keys(first)) {
      await timed(whole[name], () => {
        const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", ONE_CALL, name], {
          env: { ...env, WHEREBY: program() },
          stdio: ["ignore", "pipe", "inherit"],
        });
        first[name].push(Number(printed));
      });
    }
  }
  for (const name of Object.keys(first)) {
    report(`from open() to the first answer, ${name}`, first[name]);
    report(`a whole process with one call, ${name}`, whole[name]);
  }
} finally {
  simulator.kill();
  rmSync(home, { recursive: true, force: true });
}
