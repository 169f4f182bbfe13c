// The thread in which the bare component runs. A call blocks it: the shim waits for the network.

import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { WASIShim } from "@bytecodealliance/preview2-shim/instantiation";
import type { Arguments, Value } from "./arguments.js";
import { FUNCTIONS, type CallErrorKind, type FunctionName, type Schema } from "./functions.js";

export interface Setting {
  /** The URL of the transpiled component. */
  component: string;
  /** All of the component's environment. */
  environment: Record<string, string>;
}

/** The first message: whether the component could be loaded. */
export interface Begun {
  failed?: string;
}

export interface Job {
  name: FunctionName;
  given: Arguments;
}

export type Answer =
  | { result: unknown }
  | { kind: CallErrorKind; message: string; httpStatus?: number; retryAfterSeconds?: number }
  /** The component does not have the function. */
  | { missing: true }
  /** The component trapped. */
  | { fault: string };

/** What jco makes of an instance: its interfaces, and their functions. */
type Instance = Record<string, Record<string, (...given: unknown[]) => unknown> | undefined>;

/** What jco makes of a component. */
interface Transpiled {
  instantiate(
    getCoreModule: (path: string) => WebAssembly.Module,
    imports: object,
    instantiateCore: (module: WebAssembly.Module, imports: WebAssembly.Imports) => WebAssembly.Instance,
  ): Instance;
}

/** The WIT's `error`, as jco has it. */
type WitError =
  | { tag: "rate-limited"; val: number }
  | { tag: "rejected"; val: { status: number; message: string } }
  | { tag: Exclude<CallErrorKind, "rate-limited" | "rejected">; val: string };

const { component, environment } = workerData as Setting;
const modules = new Map<string, WebAssembly.Module>();

/** A module of the component, compiled once for all instances. */
function coreModule(path: string): WebAssembly.Module {
  let module = modules.get(path);
  if (!module) {
    module = new WebAssembly.Module(readFileSync(new URL(path, component)));
    modules.set(path, module);
  }
  return module;
}

/** Every call has a fresh instance: nothing of one call is there in the next. */
function call(transpiled: Transpiled, { name, given }: Job): Answer {
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

/** An error of the WIT's, in the words that the program has for it. */
function failure(error: WitError): Answer {
  switch (error.tag) {
    case "rate-limited": {
      const used = "Whereby's rate limit for the organization is used up";
      // The WIT's way of saying that Whereby named no time.
      if (error.val === 0) {
        const message = `${used}, and Whereby did not say for how long`;
        return { kind: error.tag, message, httpStatus: 429 };
      }
      return {
        kind: error.tag,
        message: `${used} for ${error.val} s more`,
        httpStatus: 429,
        retryAfterSeconds: error.val,
      };
    }
    case "rejected": {
      const { status, message } = error.val;
      const refused = `Whereby refused the request (${status})`;
      const said = message ? `${refused}: ${message}` : `${refused} and did not say why`;
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

/** A value of JSON as jco takes it: a case of a variant is an object with `tag` and `val`. */
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

/** A result of jco's in the form of JSON. A u64 becomes a number: beyond 2^53 it is rounded, as JSON is. */
function toJson(value: unknown): unknown {
  if (value === undefined) return null;
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [name, toJson(of)]));
}

// jco finds out by calling it whether this is there, and does without. But where it is not, V8 parses twelve
// thousand lines to word the TypeError, eight times an instance: 30 ms. Any other error costs nothing.
const wasm = WebAssembly as { promising?: () => never };
wasm.promising ??= () => {
  throw new Error("not there");
};

const port = parentPort;
if (!port) throw new Error("this runs in a worker thread");
try {
  const transpiled = (await import(component)) as Transpiled;
  coreModule("component.core.wasm");
  port.on("message", (job: Job) => port.postMessage(call(transpiled, job)));
  port.postMessage({} satisfies Begun);
} catch (error) {
  port.postMessage({ failed: error instanceof Error ? error.message : String(error) } satisfies Begun);
}
