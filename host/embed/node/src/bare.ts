// The bare component: transpiled by jco, in this process, with the access token in its environment.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { Arguments } from "./arguments.js";
import type { Answer, Begun, Job, Setting } from "./bare-worker.js";
import { Runtime, type Connection } from "./component.js";
import { WherebyError, closed, effectOfCutOff, hintFor, unlessAborted, type Effect } from "./errors.js";
import type { CallErrorKind, FunctionFacts } from "./functions.js";

/** The claims of an API key that the component does not get. */
export interface KeyClaims {
  organizationId?: string | number;
  /** When the key was made, in seconds since 1970. */
  iat?: number;
  /** When the key expires, in seconds since 1970. */
  exp?: number;
}

export interface BareOptions {
  /** An API key of Whereby. Without it, nothing authenticates the requests. */
  accessToken?: string | undefined;
  /** The base of every request. Default: `https://api.whereby.dev/v1`. */
  apiUrl?: string | undefined;
  /** What `getCurrentUser` says of the key where there is no `accessToken`. */
  keyClaims?: KeyClaims | undefined;
  /** The directory that `npm run build` made. Default: `component` in this package. */
  component?: string | undefined;
}

/**
 * The component by itself, in a thread of this process. Nothing is read from the process's environment.
 *
 * Calls are made one after the other, each in a fresh instance. Nothing but the component itself limits
 * what is sent; see the README for what the program `whereby` adds.
 */
export function bare(options: BareOptions = {}): Runtime {
  const directory = resolve(options.component ?? fileURLToPath(new URL("../component", import.meta.url)));
  const variables = {
    WHEREBY_ACCESS_TOKEN: options.accessToken,
    WHEREBY_API_URL: options.apiUrl,
    WHEREBY_KEY_CLAIMS: options.keyClaims && JSON.stringify(options.keyClaims),
  };
  const given = Object.entries(variables).filter(([, value]) => value !== undefined);
  const environment = Object.fromEntries(given) as Record<string, string>;
  return new Runtime(async () => {
    const connection = new Bare(directory, environment);
    await connection.start();
    return connection;
  });
}

class Bare implements Connection {
  readonly #directory: string;
  readonly #environment: Record<string, string>;
  #worker: Worker | undefined;
  #isClosed = false;
  /** Settles where the calls before are done: the worker makes one at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(directory: string, environment: Record<string, string>) {
    this.#directory = directory;
    this.#environment = environment;
  }

  /** The worker, started where there is none. */
  async start(): Promise<Worker> {
    if (this.#isClosed) throw closed("none");
    if (this.#worker) return this.#worker;
    const path = resolve(this.#directory, "component.js");
    if (!existsSync(path)) {
      throw new WherebyError("configuration", `the component was not built: there is no ${path}`, {
        hint: "npm run build -- FILE, with a FILE from `whereby component export FILE`",
      });
    }
    const setting: Setting = { component: pathToFileURL(path).href, environment: this.#environment };
    // The thread has no environment either: what the shim does by default is to pass all of it. Nor has it
    // the flags of this process, such as --eval and --import, which would run other code in it.
    const worker = new Worker(new URL("./bare-worker.js", import.meta.url), {
      workerData: setting,
      env: {},
      execArgv: [],
    });
    this.#worker = worker;
    worker.once("exit", () => this.#forget(worker));
    const begun = await next<Begun>(worker).catch((error: Error): Begun => ({ failed: error.message }));
    worker.unref();
    if (this.#isClosed) throw closed("none");
    if (begun.failed !== undefined) {
      await worker.terminate();
      throw new WherebyError("configuration", `the component cannot be loaded: ${begun.failed}`);
    }
    return worker;
  }

  call(fn: FunctionFacts, given: Arguments, signal: AbortSignal | undefined): Promise<unknown> {
    const turn = this.#last.then(() => this.#run(fn, given, signal));
    // The caller is told of a failure; it does not keep the next call from its turn.
    this.#last = turn.catch(() => undefined);
    return unlessAborted(turn, signal);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#worker?.terminate();
  }

  async #run(fn: FunctionFacts, given: Arguments, signal: AbortSignal | undefined): Promise<unknown> {
    const worker = await this.start();
    signal?.throwIfAborted();
    // A thread that waits for an answer does not hear anything: only its end ends the call.
    const abort = () => {
      this.#forget(worker);
      void worker.terminate();
    };
    signal?.addEventListener("abort", abort, { once: true });
    worker.ref();
    try {
      const job: Job = { name: fn.name, given };
      worker.postMessage(job);
      return this.#result(fn, await next<Answer>(worker));
    } catch (error) {
      throw this.#isClosed ? closed(effectOfCutOff(fn)) : this.#failure(fn, error);
    } finally {
      worker.unref();
      signal?.removeEventListener("abort", abort);
    }
  }

  #forget(worker: Worker): void {
    if (this.#worker === worker) this.#worker = undefined;
  }

  #result(fn: FunctionFacts, answer: Answer): unknown {
    if ("result" in answer) return answer.result;
    if ("missing" in answer) {
      throw new WherebyError("usage", `${fn.method} is not in this component, which only reads`, {
        hint: "use the component of `whereby component export FILE`, without --reader",
      });
    }
    if ("fault" in answer) throw new Error(answer.fault);
    const { kind } = answer;
    const effect = effectOf(fn, kind);
    throw new WherebyError(kind, this.#withoutToken(answer.message), {
      effect,
      hint: hintFor(kind, effect),
      httpStatus: answer.httpStatus,
      retryAfterSeconds: answer.retryAfterSeconds,
    });
  }

  /** An error that is not the component's answer: it trapped, or its thread ended. */
  #failure(fn: FunctionFacts, error: unknown): WherebyError {
    if (error instanceof WherebyError) return error;
    const effect = effectOfCutOff(fn);
    const message = error instanceof Error ? error.message : String(error);
    return new WherebyError("component-fault", `the component failed: ${this.#withoutToken(message)}`, {
      effect,
      hint: hintFor("component-fault", effect),
    });
  }

  /** An answer of the network may repeat what was sent to it. */
  #withoutToken(text: string): string {
    const token = this.#environment.WHEREBY_ACCESS_TOKEN;
    return token ? text.replaceAll(token, "…") : text;
  }
}

/** Whether a write may have happened although it failed: nobody watches what the component sends. */
function effectOf(fn: FunctionFacts, kind: CallErrorKind): Effect {
  const isOpen = kind === "timeout" || kind === "unavailable" || kind === "unexpected-response";
  return isOpen ? effectOfCutOff(fn) : "none";
}

/** The next message of a worker, or the error by which it ended. */
function next<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      worker.off("message", answered).off("error", failed).off("exit", ended);
      act();
    };
    const answered = (message: T) => settle(() => resolve(message));
    const failed = (error: Error) => settle(() => reject(error));
    const ended = (status: number) => settle(() => reject(new Error(`its thread ended (${status})`)));
    worker.on("message", answered).on("error", failed).on("exit", ended);
  });
}
