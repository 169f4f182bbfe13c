// The one class that users call.

import { checkArguments, type Arguments } from "./arguments.js";
import { FUNCTIONS, Functions, type FunctionFacts } from "./functions.js";

/** A runtime that was chosen and not yet started: what `bare()` and `host()` return. */
export class Runtime {
  readonly #start: () => Promise<Connection>;

  /** @internal */
  constructor(start: () => Promise<Connection>) {
    this.#start = start;
  }

  /** @internal */
  start(): Promise<Connection> {
    return this.#start();
  }
}

/** @internal A runtime that was started. */
export interface Connection {
  /** Makes a call and returns its result in the form of JSON. Rejects with the signal's reason on abort. */
  call(fn: FunctionFacts, given: Arguments, signal: AbortSignal | undefined): Promise<unknown>;
  /** Ends everything that was started. */
  close(): Promise<void>;
}

/**
 * The functions for Whereby's meetings, in the runtime that was chosen.
 *
 * Every method takes one object of arguments, and returns a promise of what the function returns. Results
 * have every member; one that is absent is null. What fails, rejects with a {@link WherebyError}.
 */
export class WherebyComponent extends Functions {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    super(async (name, given, { signal }) => {
      const fn = FUNCTIONS[name];
      return connection.call(fn, checkArguments(fn, given), signal);
    });
    this.#connection = connection;
  }

  /** Starts the runtime. It keeps the process from ending only while a call is under way. */
  static async open(runtime: Runtime): Promise<WherebyComponent> {
    return new WherebyComponent(await runtime.start());
  }

  /** Ends the runtime, and calls that are under way with the kind `closed`. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  /** The same as `close()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
