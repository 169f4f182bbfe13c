// The pages of a function.

import { checkArguments } from "./arguments.js";
import { WherebyError } from "./errors.js";
import { FUNCTIONS, HINTS, type Call, type CallOptions, type FunctionFacts } from "./functions.js";

interface Page {
  data: unknown[];
  meta: { nextCursor: string | null };
}

/** Yields the items of all pages. Reads a page when it is needed. */
export async function* items(
  call: Call,
  iterator: FunctionFacts,
  given: object,
  options: CallOptions,
): AsyncGenerator<unknown, void, undefined> {
  const { limit, ...others } = checkArguments(iterator, given);
  const most = FUNCTIONS[iterator.name].arguments.properties?.limit?.maximum as number;
  let left = limit === undefined ? Infinity : (limit as number);
  let cursor: string | null = null;
  const cursors = new Set<string>();
  do {
    const page = (await call(iterator.name, { ...others, limit: Math.min(left, most), cursor }, options)) as Page;
    const found = page.data.slice(0, left);
    left -= found.length;
    cursor = page.meta.nextCursor;
    if (cursor !== null && left > 0) {
      if (cursors.has(cursor)) {
        throw new WherebyError(
          "unexpected-response",
          "the pages have no end: a nextCursor leads back to an earlier page",
          { hint: HINTS["unexpected-response"] },
        );
      }
      cursors.add(cursor);
    }
    yield* found;
  } while (cursor !== null && left > 0);
}
