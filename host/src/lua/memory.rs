//! The memory of a script: what its values take in Lua, and what the host holds for it.

use mlua::Lua;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much memory a script may have, in Lua and in the host together. Lua gets what the host does
/// not hold.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Room>);

#[derive(Default)]
struct Room {
    /// How much there may be in all, in bytes; 0 while the state is being made.
    limit: AtomicUsize,
    /// How much of that the host holds.
    held: AtomicUsize,
}

impl Memory {
    /// Limits what comes on top of what there is.
    pub(crate) fn limit(&self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        self.0.limit.store(lua.used_memory() + bytes, Ordering::Relaxed);
        self.apply(lua)
    }

    /// How many bytes more there may be.
    pub(crate) fn left(&self, lua: &Lua) -> usize {
        match self.for_lua() {
            0 => usize::MAX,
            limit => limit.saturating_sub(lua.used_memory()),
        }
    }

    /// Fails where there is no room for so many bytes more, also without what nobody needs any more.
    pub(crate) fn require(&self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        if self.left(lua) < bytes {
            lua.gc_collect()?;
            if self.left(lua) < bytes {
                return Err(not_enough());
            }
        }
        Ok(())
    }

    /// Counts bytes that the host holds until they are released.
    pub(crate) fn hold(&self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        self.require(lua, bytes)?;
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        self.apply(lua)
    }

    pub(crate) fn release(&self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        self.apply(lua)
    }

    /// Makes values in Lua for which there is room. Nothing in it needs to be made under a guard of
    /// its own, which takes most of the time.
    pub(crate) fn unguarded<T>(
        &self,
        lua: &Lua,
        make: impl FnOnce() -> mlua::Result<T>,
    ) -> mlua::Result<T> {
        lua.set_memory_limit(0)?;
        let made = make();
        self.apply(lua)?;
        made
    }

    fn apply(&self, lua: &Lua) -> mlua::Result<()> {
        lua.set_memory_limit(self.for_lua()).map(drop)
    }

    /// How much Lua may have; 0 is no limit.
    fn for_lua(&self) -> usize {
        match self.0.limit.load(Ordering::Relaxed) {
            0 => 0,
            limit => limit.saturating_sub(self.0.held.load(Ordering::Relaxed)).max(1),
        }
    }
}

/// What Lua's own error says where memory ends.
pub(crate) const NOT_ENOUGH_MEMORY: &str = "not enough memory";

pub(crate) fn not_enough() -> mlua::Error {
    mlua::Error::MemoryError(NOT_ENOUGH_MEMORY.into())
}
