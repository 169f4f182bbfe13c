// Usage from TypeScript. Correct code must compile, and wrong code must not.

import { WherebyComponent, WherebyError, bare, host, type RoomField, type RoomPage } from "whereby-agent";

export async function example(useHost: boolean, signal: AbortSignal): Promise<string | null> {
  const runtime = useHost ? host({ account: "work", approver: (question) => question.length < 80 }) : bare({});
  await using whereby = await WherebyComponent.open(runtime);
  try {
    const page: RoomPage = await whereby.listRooms({ limit: 2 }, { signal });
    const fields: RoomField[] = [
      "hostRoomUrl",
      { isLocked: true, viewerMode: false, roomNamePattern: "uuid" },
      { recording: { type: "cloud", startTrigger: "prompt" } },
    ];
    for await (const { roomName } of whereby.iterateRooms({ limit: 2 }, { signal })) console.log(roomName);
    for await (const { duration } of whereby.iterateMeetings({ fromDate: "2026-03-01" })) console.log(duration);
    const room = await whereby.createRoom({ roomMode: "group", fields });
    const { duration } = await whereby.getMeeting({ meetingId: "daily:1" });
    const seconds: number = duration ?? 0;
    return room.hostRoomUrl ?? page.data[0]?.roomName ?? String(seconds);
  } catch (error) {
    if (error instanceof WherebyError && error.kind === "rate-limited") return `${error.retryAfterSeconds} s`;
    throw error;
  }
}

export function wrong(whereby: WherebyComponent): unknown[] {
  return [
    // @ts-expect-error a name is needed
    whereby.getRoom(),
    // @ts-expect-error names are in camelCase
    whereby.getRoom({ room_name: "a" }),
    // @ts-expect-error unknown field
    whereby.createRoom({ fields: ["everything"] }),
    // @ts-expect-error an iterator has its own position
    whereby.iterateRooms({ cursor: "a" }),
    // @ts-expect-error it takes no arguments
    whereby.getCurrentUser({ limit: 1 }),
    // @ts-expect-error no runtime was passed
    WherebyComponent.open({}),
  ];
}
