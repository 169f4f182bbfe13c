// Errors, in the same form for both runtimes.

import { HINTS, type CallErrorKind, type FunctionFacts } from "./functions.js";

/**
 * The kind of an error: a case of the WIT's `error`, one of the program's kinds, or one of these.
 *
 * - `usage`: the package or the program was used incorrectly.
 * - `configuration`: the program, its configuration or the transpiled component cannot be used.
 * - `internal`: the program or the worker thread failed or ended.
 * - `closed`: the component was closed before or during the call.
 */
export type ErrorKind = CallErrorKind | "usage" | "configuration" | "internal" | "closed";

/** Whether a write happened: no, unknown, or yes. */
export type Effect = "none" | "unknown" | "done";

/** The properties of an error besides its kind. */
export interface ErrorFacts {
  hint?: string | undefined;
  effect?: Effect | undefined;
  retryAfterSeconds?: number | undefined;
  httpStatus?: number | undefined;
  approvalId?: string | undefined;
}

/** The error of a failed call or a failed start. Unknown properties are absent. */
export class WherebyError extends Error {
  override readonly name = "WherebyError";
  readonly kind: ErrorKind;
  /** Whether a write happened. With the bare component, nothing sees the requests, so it may be `unknown`. */
  readonly effect: Effect;
  /** What to do about the error. */
  declare readonly hint?: string;
  /** The seconds to wait before trying again, if the kind is `rate-limited`. */
  declare readonly retryAfterSeconds?: number;
  /** The status of Whereby's response, if it refused the request. */
  declare readonly httpStatus?: number;
  /** The id of the approval, if the kind is `approval-required`. */
  declare readonly approvalId?: string;

  constructor(kind: ErrorKind, message: string, { effect = "none", ...facts }: ErrorFacts = {}) {
    super(message);
    this.kind = kind;
    this.effect = effect;
    Object.assign(this, Object.fromEntries(Object.entries(facts).filter(([, fact]) => fact !== undefined)));
  }
}

/** Returns the hint for an error of a call. */
export function hintFor(kind: CallErrorKind, effect: Effect): string | undefined {
  return effect === "unknown" ? "the change may have been made: check before trying again" : HINTS[kind];
}

/** Returns the effect of an interrupted call. */
export function effectOfInterrupted(fn: FunctionFacts): Effect {
  return fn.interface === "write" ? "unknown" : "none";
}

/** Returns the error of a call that did not end before `close()`, or started after it. */
export function closed(effect: Effect): WherebyError {
  return new WherebyError("closed", "the component was closed", { effect, hint: "open it again" });
}

/** Settles as `promise` does, or rejects with the signal's reason if that comes first. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
    if (signal.aborted) abort();
  });
}
