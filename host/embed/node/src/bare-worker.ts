// The thread that runs the bare component. A call blocks it, because the shim waits for the network.

import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { WASIShim } from "@bytecodealliance/preview2-shim/instantiation";
import type { Arguments, Value } from "./arguments.js";
import { FUNCTIONS, type CallErrorKind, type FunctionName, type Schema } from "./functions.js";

export interface WorkerSettings {
  /** The URL of the transpiled component. */
  component: string;
  /** The component's whole environment. */
  environment: Record<string, string>;
}

/** The first message: whether the component could be loaded. */
export interface Started {
  failed?: string;
}

export interface Job {
  name: FunctionName;
  given: Arguments;
}

export type CallResult =
  | { result: unknown }
  | { kind: CallErrorKind; message: string; httpStatus?: number; retryAfterSeconds?: number }
  /** The component does not have the function. */
  | { missing: true }
  /** The component trapped. */
  | { fault: string };

/** An instance as jco represents it: its interfaces and their functions. */
type Instance = Record<string, Record<string, (...given: unknown[]) => unknown> | undefined>;

/** A component that jco transpiled. */
interface Transpiled {
  instantiate(
    getCoreModule: (path: string) => WebAssembly.Module,
    imports: object,
    instantiateCore: (module: WebAssembly.Module, imports: WebAssembly.Imports) => WebAssembly.Instance,
  ): Instance;
}

/** The WIT's `error`, as jco represents it. */
type WitError =
  | { tag: "rate-limited"; val: number }
  | { tag: "rejected"; val: { status: number; message: string } }
  | { tag: Exclude<CallErrorKind, "rate-limited" | "rejected">; val: string };

const { component, environment } = workerData as WorkerSettings;
const modules = new Map<string, WebAssembly.Module>();

/** Returns a module of the component, compiled once for all instances. */
function coreModule(path: string): WebAssembly.Module {
  let module = modules.get(path);
  if (!module) {
    module = new WebAssembly.Module(readFileSync(new URL(path, component)));
    modules.set(path, module);
  }
  return module;
}

/** Makes a call in a fresh instance, so that calls share no state. */
function call(transpiled: Transpiled, { name, given }: Job): CallResult {
  const fn = FUNCTIONS[name];
  try {
    const shim = new WASIShim({ sandbox: { env: environment, args: [], preopens: {} } });
    const instance = transpiled.instantiate(
      coreModule,
      shim.getImportObject(),
      (module, imports) => new WebAssembly.Instance(module, imports),
    );
    const run = instance[fn.interface]?.[fn.method];
    if (!run) return { missing: true };
    const parameters = Object.entries(fn.arguments.properties ?? {});
    return { result: toJson(run(...parameters.map(([of, schema]) => toWit(schema, given[of])))) };
  } catch (error) {
    const payload = (error as { payload?: WitError }).payload;
    if (payload) return failure(payload);
    return { fault: error instanceof Error ? error.message : String(error) };
  }
}

/** Converts an error of the WIT, with the program's messages. */
function failure(error: WitError): CallResult {
  switch (error.tag) {
    case "rate-limited": {
      const reached = "the organization reached Whereby's rate limit";
      // In the WIT, 0 means that Whereby did not say.
      if (error.val === 0) {
        const message = `${reached}; Whereby did not say for how long`;
        return { kind: error.tag, message, httpStatus: 429 };
      }
      return {
        kind: error.tag,
        message: `${reached}; wait ${error.val} s`,
        httpStatus: 429,
        retryAfterSeconds: error.val,
      };
    }
    case "rejected": {
      const { status, message } = error.val;
      const refused = `Whereby refused the request (${status})`;
      const said = message ? `${refused}: ${message}` : `${refused} without giving a reason`;
      return { kind: error.tag, message: said, httpStatus: status };
    }
    case "unauthorized":
      return { kind: error.tag, message: error.val, httpStatus: 401 };
    case "access-denied":
      return { kind: error.tag, message: error.val, httpStatus: 403 };
    default:
      return { kind: error.tag, message: error.val };
  }
}

/** Converts a JSON value for jco, which represents a case of a variant as an object with `tag` and `val`. */
function toWit(schema: Schema, value: Value | undefined): unknown {
  if (Array.isArray(value)) return value.map((item) => toWit(schema.items ?? {}, item));
  if (schema.variant && typeof value === "string") return { tag: kebab(value) };
  if (typeof value !== "object") return value;
  const properties = schema.properties ?? {};
  const members = Object.entries(value).map(([name, of]) => [name, toWit(properties[name] ?? {}, of)] as const);
  const [first] = members;
  return schema.variant && first ? { tag: kebab(first[0]), val: first[1] } : Object.fromEntries(members);
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Converts jco's result to JSON. A u64 becomes a number, which is rounded beyond 2^53. */
function toJson(value: unknown): unknown {
  if (value === undefined) return null;
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [name, toJson(of)]));
}

// jco calls this to find out whether it exists. If it does not, V8 parses 12,000 lines to word the TypeError,
// eight times per instance, which takes 30 ms. Any other error costs nothing.
const wasm = WebAssembly as { promising?: () => never };
wasm.promising ??= () => {
  throw new Error("not available");
};

const port = parentPort;
if (!port) throw new Error("this runs in a worker thread");
try {
  const transpiled = (await import(component)) as Transpiled;
  coreModule("component.core.wasm");
  port.on("message", (job: Job) => port.postMessage(call(transpiled, job)));
  port.postMessage({} satisfies Started);
} catch (error) {
  port.postMessage({ failed: error instanceof Error ? error.message : String(error) } satisfies Started);
}
