// Why a call failed, in the same form whichever runtime made it.

import { HINTS, type CallErrorKind, type FunctionFacts } from "./functions.js";

/**
 * What kind of error it is: a case of the WIT's `error`, a kind of the program's, or one of these.
 *
 * - `usage`: the package or the program was not used as it can be.
 * - `configuration`: the program, its configuration or the transpiled component cannot be used.
 * - `internal`: the program or the worker thread failed or ended.
 * - `closed`: it was closed, before the call or during it.
 */
export type ErrorKind = CallErrorKind | "usage" | "configuration" | "internal" | "closed";

/** Whether a write happened: it did not, nobody knows, or it did. */
export type Effect = "none" | "unknown" | "done";

/** What is known of an error besides its kind. */
export interface ErrorFacts {
  hint?: string | undefined;
  effect?: Effect | undefined;
  retryAfterSeconds?: number | undefined;
  httpStatus?: number | undefined;
  approvalId?: string | undefined;
}

/** Why a call failed, or something could not be opened. What is not known is not there. */
export class WherebyError extends Error {
  override readonly name = "WherebyError";
  readonly kind: ErrorKind;
  /** Whether a write happened. By the bare component nobody sees the requests: it may be `unknown`. */
  readonly effect: Effect;
  /** What to do about it, in a sentence. */
  declare readonly hint?: string;
  /** How long to wait before trying again, where the kind is `rate-limited`. */
  declare readonly retryAfterSeconds?: number;
  /** The status of Whereby's answer, where it refused. */
  declare readonly httpStatus?: number;
  /** What a person approves, where the kind is `approval-required`. */
  declare readonly approvalId?: string;

  constructor(kind: ErrorKind, message: string, { effect = "none", ...facts }: ErrorFacts = {}) {
    super(message);
    this.kind = kind;
    this.effect = effect;
    Object.assign(this, Object.fromEntries(Object.entries(facts).filter(([, fact]) => fact !== undefined)));
  }
}

/** What to do about an error of a call. */
export function hintFor(kind: CallErrorKind, effect: Effect): string | undefined {
  return effect === "unknown" ? "look whether it happened before trying again" : HINTS[kind];
}

/** What is known of a call that was cut off. */
export function effectOfCutOff(fn: FunctionFacts): Effect {
  return fn.interface === "write" ? "unknown" : "none";
}

/** A call that did not end before `close()`, or began after it. */
export function closed(effect: Effect): WherebyError {
  return new WherebyError("closed", "it was closed", { effect, hint: "open it again" });
}

/** Settles as `promise` does, or rejects with the signal's reason where that comes first. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
    if (signal.aborted) abort();
  });
}
