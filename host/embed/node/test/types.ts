// Checks with the compiler that the public types are the JSON form of jco's generated types.

import type * as jco from "../component/interfaces/whereby-agent-types.js";
import type * as own from "whereby-agent";

type IsOptional<T, K extends keyof T> = {} extends Pick<T, K> ? true : false;

/** The JSON form of a result: an absent member is present and null. */
type Json<T> = T extends bigint
  ? number
  : T extends (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [K in keyof T]-?: IsOptional<T, K> extends true ? Json<NonNullable<T[K]>> | null : Json<T[K]> }
      : T;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Same<A, B> = Equal<Json<A>, Flat<B>>;

/** The same type without its alias, which `Equal` would distinguish. */
type Flat<T> = T extends (infer Item)[] ? Flat<Item>[] : T extends object ? { [K in keyof T]: Flat<T[K]> } : T;

export const results: [
  Same<jco.RoomPage, own.RoomPage>,
  Same<jco.Room, own.Room>,
  Same<jco.CreatedRoom, own.CreatedRoom>,
  Same<jco.DeletedRoom, own.DeletedRoom>,
  Same<jco.MeetingPage, own.MeetingPage>,
  Same<jco.Meeting, own.Meeting>,
  Same<jco.CurrentUser, own.CurrentUser>,
] = [true, true, true, true, true, true, true];
