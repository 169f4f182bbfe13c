//! Builds a workspace member as a WebAssembly component.

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target whose output is a component.
const TARGET: &str = "wasm32-wasip2";

/// The profile, in the workspace's `Cargo.toml`.
const PROFILE: &str = "component";

/// The stack size, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// The initial memory, in bytes. It is enough for most calls: unused memory is free, but growing it is
/// not.
const MEMORY_BYTES: usize = 1024 * 1024;

/// How large the memory of the guard may become, in bytes: several times what it receives during a call.
const GUARD_MEMORY_BYTES: usize = 128 * 1024 * 1024;

/// A build of a component.
pub(crate) struct Build<'a> {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) workspace: &'a Path,
    /// The package.
    pub(crate) package: &'a str,
    /// Whether it guards other components.
    pub(crate) guards: bool,
    /// Whether to build its feature `write`. The other default features are left out.
    pub(crate) writes: bool,
    /// Must not be the target directory of the outer build, whose lock cargo holds.
    pub(crate) target_dir: &'a Path,
}

/// Ends a build script, and reports an error in one line without a backtrace.
pub(crate) fn finish(result: Result<()>) {
    if let Err(error) = result {
        println!("cargo::error={error:#}");
        std::process::exit(1);
    }
}

impl Build<'_> {
    /// Builds the component, and returns its path.
    pub(crate) fn run(&self) -> Result<PathBuf> {
        require_target()?;
        let cargo = std::env::var_os("CARGO").context("cargo sets CARGO")?;
        let mut command = Command::new(cargo);
        // Settings of the outer build's target must not apply here.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            let inherited = name.starts_with("CARGO") && name != "CARGO_HOME"
                || name.starts_with("RUSTC")
                || name.starts_with("RUSTFLAGS")
                || name.starts_with("CLIPPY");
            // The settings of the registry apply.
            if inherited && !is_network_setting(&name) {
                command.env_remove(&key);
            }
        }
        let cargo_home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        // A smaller stack makes the memory smaller, which is wiped after every call.
        let mut flags = vec![
            format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
            format!("-Clink-arg=--initial-memory={MEMORY_BYTES}"),
            // A component is never loaded at another address, so its code need not look up its own.
            "-Crelocation-model=static".to_owned(),
            // Without padding for relocations.
            "-Clink-arg=--compress-relocations".to_owned(),
        ];
        // A call runs most of its code once, and the processor must load it first. More inlining and unrolled loops take
        // longer to load than they save. The guard gets less, because its size is limited.
        let inlining = if self.guards { 55 } else { 180 };
        flags.extend(
            [
                format!("inline-threshold={inlining}"),
                format!("inlinehint-threshold={inlining}"),
                "unroll-threshold=0".to_owned(),
                "rotation-max-header-size=0".to_owned(),
            ]
            .map(|argument| format!("-Cllvm-args=-{argument}")),
        );
        if self.guards {
            // Some runtimes mix up resources whose addresses in the guard's memory are large.
            flags.push(format!("-Clink-arg=--max-memory={GUARD_MEMORY_BYTES}"));
        }
        // The component's bytes must not depend on where it is built.
        flags.push(format!("--remap-path-prefix={}=whereby", self.workspace.display()));
        if let Some(home) = cargo_home {
            flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
        }
        // In one folder, each change of the flags would build everything again.
        let target_dir = self.target_dir.join(if self.guards { "guard" } else { "" });
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .current_dir(self.workspace)
            .args(["rustc", "--locked", "--quiet", "--package", self.package, "--lib"])
            // If the library has another type too, cargo silently skips link-time optimization.
            .args(["--crate-type", "cdylib"])
            .args(["--profile", PROFILE, "--target", TARGET, "--no-default-features"])
            .args(self.writes.then_some("--features=write"))
            .arg("--target-dir")
            .arg(&target_dir);
        let status = command.status().context("cargo could not be run")?;
        if !status.success() {
            bail!("`{}` could not be built; see above", self.package);
        }
        let name = format!("{}.wasm", self.package.replace('-', "_"));
        Ok(target_dir.join(TARGET).join(PROFILE).join(name))
    }
}

fn is_network_setting(name: &str) -> bool {
    ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Checks that the target's standard library is installed.
fn require_target() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("rustc could not be run")?;
    let libdir = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !Path::new(libdir.trim()).is_dir() {
        bail!("the target {TARGET} is not installed; run: rustup target add {TARGET}");
    }
    Ok(())
}
