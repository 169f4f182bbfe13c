//! Limits the memory of a script: its values in Lua, and the bytes that the host holds for it.

use mlua::Lua;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory limit of a script, for Lua and the host together.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Room>);

#[derive(Default)]
struct Room {
    /// The limit in bytes; 0 while the state is being set up.
    limit: AtomicUsize,
    /// How many bytes the host holds.
    held: AtomicUsize,
}

impl Memory {
    /// Sets the limit to this many bytes more than are in use now.
    pub(crate) fn limit(&self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        self.0.limit.store(lua.used_memory() + bytes, Ordering::Relaxed);
        self.apply(lua)
    }

    /// Returns how many bytes are left.
    pub(crate) fn left(&self, lua: &Lua) -> usize {
        match self.for_lua() {
            0 => usize::MAX,
            limit => limit.saturating_sub(lua.used_memory()),
        }
    }

    /// Fails if fewer bytes are left, even after a garbage collection.
    pub(crate) fn require(&self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        if self.left(lua) < bytes {
            lua.gc_collect()?;
            if self.left(lua) < bytes {
                return Err(not_enough());
            }
        }
        Ok(())
    }

    /// Counts bytes that the host holds until [`Memory::release`].
    pub(crate) fn hold(&self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        self.require(lua, bytes)?;
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        self.apply(lua)
    }

    pub(crate) fn release(&self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        self.apply(lua)
    }

    /// Creates values in Lua after [`Memory::require`]. It removes the limit meanwhile, because mlua is
    /// much slower with one.
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

    /// The limit for Lua; 0 means none.
    fn for_lua(&self) -> usize {
        match self.0.limit.load(Ordering::Relaxed) {
            0 => 0,
            limit => limit.saturating_sub(self.0.held.load(Ordering::Relaxed)).max(1),
        }
    }
}

/// The message of Lua's own error when memory runs out.
pub(crate) const NOT_ENOUGH_MEMORY: &str = "not enough memory";

pub(crate) fn not_enough() -> mlua::Error {
    mlua::Error::MemoryError(NOT_ENOUGH_MEMORY.into())
}
