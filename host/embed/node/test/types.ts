// The public types are the form in JSON of those that jco generates: checked by the compiler alone.

import type * as jco from "../component/interfaces/whereby-agent-types.js";
import type * as own from "whereby-agent";

type IsOptional<T, K extends keyof T> = {} extends Pick<T, K> ? true : false;

/** A result in the form of JSON: a member that may be absent is there, and null. */
type Json<T> = T extends bigint
  ? number
  : T extends (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [K in keyof T]-?: IsOptional<T, K> extends true ? Json<NonNullable<T[K]>> | null : Json<T[K]> }
      : T;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Same<A, B> = Equal<Json<A>, Flat<B>>;

/** The same type without its names, which `Equal` would tell apart. */
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
