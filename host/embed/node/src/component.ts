// The class that users call.

import { checkArguments, type Arguments } from "./arguments.js";
import { FUNCTIONS, Functions, ITERATORS, type Call, type FunctionFacts } from "./functions.js";
import { items } from "./pages.js";

/** A runtime that is not started yet, as `bare()` and `host()` return it. */
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

/** @internal A started runtime. */
export interface Connection {
  /** Makes a call and returns its result as JSON. Rejects with the signal's reason on abort. */
  call(fn: FunctionFacts, given: Arguments, signal: AbortSignal | undefined): Promise<unknown>;
  /** Ends everything that was started. */
  close(): Promise<void>;
}

/**
 * The functions for Whereby rooms and meetings, in the chosen runtime.
 *
 * Every method takes an object of arguments and returns a promise of the result. Results have every member;
 * an absent one is null. A failed call rejects with a {@link WherebyError}.
 */
export class WherebyComponent extends Functions {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    const call: Call = async (name, given, { signal }) => {
      const fn = FUNCTIONS[name];
      return connection.call(fn, checkArguments(fn, given), signal);
    };
    super(call, (method, given, options) => items(call, ITERATORS[method], given, options));
    this.#connection = connection;
  }

  /** Starts the runtime. It keeps the process alive only while a call is running. */
  static async open(runtime: Runtime): Promise<WherebyComponent> {
    return new WherebyComponent(await runtime.start());
  }

  /** Ends the runtime. Running calls reject with the kind `closed`. */
  async close(): Promise<void> {
    await this.#connection.close();
  }

  /** The same as `close()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
